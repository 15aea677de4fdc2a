"""A run, which is a study of one point: its arms, its replicates, and what may be said of them."""

import multiprocessing
from collections import defaultdict
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

from autolora_meta.config.run import RunConfig
from autolora_meta.errors import InputError
from autolora_meta.foundation.progress import Silent
from autolora_meta.reporting.sentences import groups
from autolora_meta.statistics.paired import holm, paired_difference
from autolora_meta.studies import work
from autolora_meta.studies.answers import answers
from autolora_meta.studies.study import Study
from autolora_meta.studies.table import StudyTable
from autolora_meta.studies.work import retrain_once
from autolora_meta.workflow import run
from tests.end_to_end import Tiny, contents
from tests.studies.tiny_run import ARMS, METRICS, made, results


def test_there_is_a_row_for_each_arm_and_seed(tiny: Tiny, table: StudyTable) -> None:
    rows = {(row["arm"], row["seed"]): row for row in table.rows}
    assert list(rows) == list(product(ARMS, (0, 1))) and table.metrics == [*METRICS]
    for key, result in results(tiny).items():
        assert rows[key]["metrics"] == result["metrics"]
        assert rows[key]["parameters"] == result["parameters"] == 4 * 32  # all at uniform rank 1
        assert rows[key]["start"] == "scratch"


def test_differences_are_paired_with_the_intervals_of_scipy(table: StudyTable) -> None:
    values = defaultdict(list)
    for row in table.rows:
        for metric in METRICS:
            values[row["arm"], metric].append(row["metrics"][metric])
    found = [contrast for each in answers(table) for contrast in each]
    pairs = {(c.value, c.baseline) for c in found}
    against = [(arm, "uniform") for arm in ARMS if arm != "uniform"]
    assert pairs == {*against, ("learned", "shuffled"), ("learned", "frozen")}
    assert len(found) == len(pairs) * len(METRICS)
    for c in found:
        a, b = values[c.value, c.metric], values[c.baseline, c.metric]
        assert c.difference.mean == pytest.approx(np.mean(a) - np.mean(b), abs=1e-12)
        assert (c.difference.n, c.difference.level) == (2, 0.95)
        if np.ptp(np.subtract(a, b)) > 1e-9:
            interval = stats.ttest_rel(a, b).confidence_interval(0.95)
            assert c.difference.low == pytest.approx(interval.low, rel=1e-9)
            assert c.difference.high == pytest.approx(interval.high, rel=1e-9)


def test_no_claim_from_two_replicates(table: StudyTable) -> None:
    assert all(sentence.startswith("no claim: ") for sentence in table.sentences())


def test_the_primary_claim_stands_alone_and_all_others_are_one_family() -> None:
    clear, close, nothing = [-0.200, -0.201, -0.202], [-0.1, -0.12, -0.17], [0.0] * 3
    assert paired_difference(close, nothing).high < 0  # alone it is a claim
    each = {"learned": close, "uniform": nothing, "shuffled": clear, "frozen": close}
    found = made({arm: {"cross_entropy": v, "accuracy": v} for arm, v in each.items()})
    first, *others = [c for group in groups(found) for c in group.contrasts]
    assert (first.value, first.baseline, first.metric) == ("learned", "uniform", "cross_entropy")
    assert first.primary and "beats uniform by" in first.sentence
    assert "corrected" not in first.sentence  # close, and it was named before
    assert len(others) == 9 and {c.family for c in others} == {9}  # of both metrics
    assert [c.p_holm for c in others] == holm([c.difference.p_test for c in others])
    strong = [c for c in others if (c.value, c.baseline) == ("shuffled", "uniform")]
    assert all(" by " in c.sentence and "corrected" in c.sentence for c in strong)
    for c in others:
        if (c.value, c.baseline) == ("frozen", "uniform"):
            assert c.sentence.startswith("No difference between") and "corrected" in c.sentence
    assert found.sentences()[0] == first.sentence
    rows = tuple(row | {"pattern": "one"} for row in found.rows)
    (said,) = (s for s in replace(found, rows=rows).sentences() if "same ranks" in s)
    assert said == "learned and frozen are the same ranks here, with the same results"


def test_another_pair_may_be_the_primary_one(tiny: Tiny) -> None:
    primary = "compare.primary={contrast: [frozen, uniform], metric: accuracy}"
    study = Study.of(RunConfig.load(tiny.config, primary, "compare.baseline=shuffled"))
    mine = [c for each in answers(replace(_as(study, METRICS[::-1]))) for c in each if c.primary]
    assert [(c.value, c.baseline, c.metric) for c in mine] == [("frozen", "uniform", "accuracy")]
    wrong = RunConfig.load(tiny.config, "compare.primary={contrast: [learned, eva]}")
    with pytest.raises(InputError, match=r"compare\.primary\.contrast: unknown arm 'eva'"):
        Study.of(wrong)


def _as(study: Study, compared: tuple[str, ...]) -> StudyTable:
    """A table that answers what a run asks."""
    found = made({arm: {m: [0.1, 0.2, 0.4] for m in METRICS} for arm in ARMS})
    rows = tuple(row | {"compared": [*compared]} for row in found.rows)
    return replace(found, rows=rows, asked=study.options.asked(), primary=study.options.primary())


def test_the_whole_job_from_python_leaves_what_the_command_leaves(
    tiny: Tiny, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = RunConfig.load(tiny.config)
    said: list[str] = []
    found = run(config, tmp_path / "mine", say=said.append, progress=Silent())
    left, before = contents(tmp_path / "mine"), contents(tiny.run)
    assert set(left) == set(before)
    for name in ("table.json", "ranks.json", "adapter/adapter_model.safetensors"):
        assert left[name] == before[name], name
    assert found == StudyTable.load(tmp_path / "mine")
    assert left["summary.md"].decode() in "\n".join(said)
    assert capsys.readouterr().out == ""
    other = RunConfig.load(tiny.config, "cg")
    with pytest.raises(InputError, match=r"differs in search.hypergradient.*overwrite=True"):
        run(other, tmp_path / "mine")
    (tmp_path / "mine" / "config.yaml").unlink()
    with pytest.raises(InputError, match="holds no run"):
        run(config, tmp_path / "mine", overwrite=True)
    assert contents(tmp_path / "mine") == {k: v for k, v in left.items() if k != "config.yaml"}


def test_a_job_that_fails_stops_no_other_and_is_tried_again_when_told_to(
    tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    changes = ["compare.replicates=1", "compare.arms=[learned, uniform]"]
    config = RunConfig.load(tiny.config, *changes)
    monkeypatch.setattr(work, "retrain_once", _without_uniform)
    table = run(config, tmp_path / "run", say=lambda text: None, progress=Silent())
    assert [row["status"] for row in table.rows] == ["finished", "failed"]
    assert (tmp_path / "run" / "adapter" / "adapter_config.json").is_file()
    assert "lower retrain.learning_rate" in (tmp_path / "run" / "summary.md").read_text()
    monkeypatch.undo()
    again = run(config, tmp_path / "run", say=lambda text: None, progress=Silent())
    assert again == table  # a failed job is left alone
    whole = run(config, tmp_path / "run", retry_failed=True, progress=Silent())
    assert [row["status"] for row in whole.rows] == ["finished", "finished"]
    assert "Failed" not in (tmp_path / "run" / "summary.md").read_text()


def _without_uniform(config: RunConfig, seed: int, arm: str, *others: Any) -> dict[str, Any]:
    if arm == "uniform":
        raise InputError("lower retrain.learning_rate")
    return retrain_once(config, seed, arm, *others)


def test_a_run_of_which_nothing_finishes_ends_with_the_reason(tiny: Tiny, tmp_path: Path) -> None:
    changes = ["retrain.learning_rate=1e30", "retrain.warmup=0", "compare.replicates=1"]
    config = RunConfig.load(tiny.config, *changes, {"compare": {"arms": ["learned", "uniform"]}})
    with pytest.raises(InputError, match=r"no run .* has finished.*lower retrain\.learning_rate"):
        run(config, tmp_path / "run", progress=Silent())
    assert not (tmp_path / "run" / "summary.md").exists()
    assert multiprocessing.active_children() == []
    assert "Not run yet" not in (tmp_path / "run" / "table.json").read_text()
