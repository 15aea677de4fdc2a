"""A run, which is a study of one point: its arms, its replicates, and what may be said of them."""

import json
import multiprocessing
import shutil
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

from autolora_meta.allocators.random_gates import ALLOCATOR as RANDOM_GATES
from autolora_meta.allocators.replicate import Replicate, allocator
from autolora_meta.config.compare import CompareOptions
from autolora_meta.config.run import RunConfig
from autolora_meta.errors import InputError
from autolora_meta.foundation.progress import Silent
from autolora_meta.pipeline.result import SearchResult
from autolora_meta.reporting.answer import groups
from autolora_meta.reporting.course import Course, courses
from autolora_meta.reporting.summary import summary
from autolora_meta.statistics.paired import holm, paired_difference
from autolora_meta.statistics.stability import stability
from autolora_meta.studies import work
from autolora_meta.studies.answers import answers
from autolora_meta.studies.questions import Primary, questions_of
from autolora_meta.studies.study import Study
from autolora_meta.studies.table import StudyTable
from autolora_meta.studies.work import retrain_once, search_once
from autolora_meta.workflow import run
from tests.end_to_end import Tiny, contents

ARMS = ("learned", "uniform", "shuffled", "frozen")
METRICS = ("cross_entropy", "accuracy")


@pytest.fixture
def table(tiny: Tiny) -> StudyTable:
    return StudyTable.load(tiny.run)


def place(tiny: Tiny, arm: str, seed: int) -> Path:
    """Where a run of the tiny run left its ranks and its search."""
    (row,) = (r for r in StudyTable.load(tiny.run).rows if (r["arm"], r["seed"]) == (arm, seed))
    return tiny.run / "runs" / row["id"] / str(seed) / arm


def results(tiny: Tiny) -> dict[tuple[str, int], dict[str, Any]]:
    """What each job of the run left: (arm, seed) -> result.json."""
    return {
        (arm, seed): json.loads((place(tiny, arm, seed) / "result.json").read_text())
        for arm in ARMS
        for seed in (0, 1)
    }


def made(values: Mapping[str, Mapping[str, list[float]]]) -> StudyTable:
    """The table of a run: arm -> metric -> a value for each seed."""
    rows = [
        {"settings": {}, "arm": arm, "seed": seed, "id": f"{arm}{seed}", "status": "finished"}
        | {"metrics": {metric: each[seed] for metric, each in of.items()}, "compared": [*METRICS]}
        | {"parameters": 8, "cost": 1.0, "pattern": arm}
        for arm, of in values.items()
        for seed in range(3)
    ]
    asked = questions_of(CompareOptions(arms=tuple(values)))
    return StudyTable("made", ("arm",), tuple(rows), asked, Primary(arms=("learned", "uniform")))


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


def test_each_arm_is_at_the_budget_by_its_own_rule(tiny: Tiny) -> None:
    left = results(tiny)
    for seed in (0, 1):
        learned = left["learned", seed]["ranks"]
        assert set(left["uniform", seed]["ranks"].values()) == {1}
        shuffled = left["shuffled", seed]["ranks"]
        assert sorted(shuffled.values()) == sorted(learned.values())
        search = SearchResult.load(place(tiny, "learned", seed))
        assert dict(search.ranks) == learned
        frozen = SearchResult.load(place(tiny, "frozen", seed))
        assert frozen.components.gates.unique().tolist() == [1.0]
        assert dict(frozen.ranks) == left["frozen", seed]["ranks"]


def test_arms_cost_what_their_searches_and_retrainings_take(table: StudyTable) -> None:
    costs = {row["arm"]: row["cost"] for row in table.rows}
    assert costs["uniform"] == 4  # retraining alone
    assert costs["frozen"] == 4 + 2 + 3  # and the inner steps
    assert costs["learned"] == costs["shuffled"] > costs["frozen"]


def test_seeds_have_splits_of_their_own_and_arms_of_one_seed_share_them(tiny: Tiny) -> None:
    config = RunConfig.load(tiny.config)
    splits = []
    for seed in (0, 0, 1):
        rows = Replicate(config, seed).prepared.rows
        texts = {name: {tuple(ids) for ids in part["input_ids"]} for name, part in rows.items()}
        assert not texts["train"] & texts["validation"] and not texts["train"] & texts["test"]
        splits.append(texts)
    assert splits[0] == splits[1] != splits[2]


def test_under_a_threshold_every_arm_gets_what_the_learned_ranks_cost(tiny: Tiny) -> None:
    config = RunConfig.load(tiny.run / "config.yaml", "ranks={rule: threshold, importance: alpha}")
    replicate = Replicate(config, 0)
    budget = allocator("learned").allocate(replicate).parameters
    for arm in ("uniform", "shuffled", "frozen"):
        assert budget - 32 < allocator(arm).allocate(replicate).parameters <= budget, arm


def test_a_rule_that_leaves_every_rank_0_leaves_nothing_to_spend(tiny: Tiny) -> None:
    rule = "ranks={rule: threshold, importance: alpha, threshold: 100}"
    replicate = Replicate(RunConfig.load(tiny.run / "config.yaml", rule), 0)
    with pytest.raises(InputError, match=r"threshold gives every layer rank 0 \(seed 0\).*lower"):
        allocator("uniform").allocate(replicate)


def test_uniform_ranks_may_be_retrained_for_as_long_as_the_learned_ones_cost(
    tiny: Tiny, table: StudyTable, tmp_path: Path
) -> None:
    folder, learned = tmp_path / "run", table.rows[0]["cost"]
    found = retrain_once(RunConfig.load(tiny.run / "config.yaml"), 0, "uniform_longer", folder, [])
    assert found["ranks"] == results(tiny)["uniform", 0]["ranks"]
    assert learned - 1 < found["cost"] <= learned
    steps = (folder / "0" / "uniform_longer" / "retrain.jsonl").read_text().splitlines()
    assert len(steps) == found["cost"]


def test_arms_that_read_a_search_may_start_from_what_it_trained(tiny: Tiny, tmp_path: Path) -> None:
    config = RunConfig.load(tiny.run / "config.yaml", "retrain.start=search")
    searches = [tmp_path / "searches" / "learned", tmp_path / "searches" / "frozen"]
    search_once([config], 0, "learned", searches[0])
    search_once([config], 0, "frozen", searches[1])
    found = {
        arm: retrain_once(config, 0, arm, tmp_path / arm, searches)
        for arm in ("learned", "shuffled", "frozen", "uniform")
    }
    scratch = results(tiny)
    for arm, row in found.items():
        assert row["ranks"] == scratch[arm, 0]["ranks"]
        left = json.loads((tmp_path / arm / "0" / arm / "result.json").read_text())
        assert left["start"] == ("scratch" if arm == "uniform" else "search")
        same = row["metrics"] == scratch[arm, 0]["metrics"]
        assert same == (arm == "uniform"), arm  # which reads no search, so that it has no start


def test_random_gates_are_read_as_the_learned_ones_are_at_their_budget(
    tiny: Tiny, tmp_path: Path
) -> None:
    replicate = Replicate(RunConfig.load(tiny.run / "config.yaml"), 0, folder=tmp_path)
    pattern = RANDOM_GATES.allocate(replicate)
    assert RANDOM_GATES.searches == ("random",)
    assert pattern == replicate.search("random").ranks and pattern.parameters == 4 * 32
    assert (tmp_path / "0" / "random" / "search" / "search.json").is_file()


def test_a_search_that_read_the_ranks_serves_no_others(tiny: Tiny, tmp_path: Path) -> None:
    config = RunConfig.load(tiny.run / "config.yaml", "search.patience=1", "search.seeds=2")
    found = Replicate(config, 0, folder=tmp_path).search("learned")
    again = Replicate(config, 0, folder=tmp_path).search("learned")
    assert again.ranks == found.ranks and len(again.searches) == 2
    wide = RunConfig.load(config.model_dump(mode="json"), "ranks.budget=uniform:2")
    with pytest.raises(InputError, match=r"with search\.patience, ranks decide which"):
        Replicate(wide, 0, folder=tmp_path).search("learned")


def test_a_folder_s_searches_serve_other_ranks_but_no_other_search(
    tiny: Tiny, tmp_path: Path
) -> None:
    shutil.copytree(place(tiny, "learned", 0), tmp_path / "0" / "learned")
    before = (tmp_path / "0/learned/search/importance.safetensors").read_bytes()
    config = RunConfig.load(tiny.config)
    wide = RunConfig.load(tiny.config, "ranks.budget=uniform:2")
    assert Replicate(wide, 0, folder=tmp_path).search("learned").ranks.parameters == 2 * 4 * 32
    assert SearchResult.load(tmp_path / "0/learned").ranks.parameters == 2 * 4 * 32
    assert (tmp_path / "0/learned/search/importance.safetensors").read_bytes() == before
    for change in ("cg", "lora.k=4", "data.train_rows=40", "search.outer_steps=4"):
        other = RunConfig.load(config.model_dump(mode="json"), change)
        with pytest.raises(InputError, match=r"search of another configuration.*another folder"):
            Replicate(other, 0, folder=tmp_path).search("learned")
    assert Replicate(config, 0, folder=tmp_path).search("learned").ranks.parameters == 4 * 32


def test_at_equal_cost_the_arms_of_a_run_cost_the_same(
    tiny: Tiny, table: StudyTable, tmp_path: Path
) -> None:
    class Told(Silent):
        meant, done = 0.0, 0.0

        def start(self, label: str, total: float) -> None:
            self.meant += total

        def step(self, loss: float | None = None, work: float = 1.0) -> None:
            self.done += work

    told = Told()
    given = ["compare.equal_cost=true", "compare.arms=[learned, uniform, para]"]
    config = RunConfig.load(tiny.config, *given, "compare.replicates=1")
    found = Study.of(config, tmp_path / "run").run(progress=told)
    costs = {row["arm"]: row["cost"] for row in found.finished}
    assert costs["learned"] == table.rows[0]["cost"]
    for arm in ("uniform", "para"):  # whole steps, so that a part of one may be left
        assert costs["learned"] - 1 < costs[arm] <= costs["learned"]
    longer = RunConfig.load(tmp_path / "run" / "runs" / found.rows[1]["id"] / "config.yaml")
    assert longer.retrain.steps == int(costs["learned"]) > 4
    assert told.done == pytest.approx(told.meant, rel=0.1)


def test_the_course_of_the_searches_is_the_median_of_their_outer_steps(
    tiny: Tiny, table: StudyTable
) -> None:
    searches = [SearchResult.load(place(tiny, "learned", seed)) for seed in (0, 1)]
    shares = [r["implicit_norm"] / r["direct_norm"] for s in searches for r in s.rows]
    (setting, course), *others = courses(table, tiny.run).items()
    assert setting == "" and not others
    assert (course.method, course.searches, course.balanced) == ("darts", 2, True)
    assert course.solved is None and course.settled is None
    assert course.implicit_share == pytest.approx(np.median(shares))
    assert course.stability == stability(
        [s.components for s in searches], searches[0].options, over="replicates"
    )
    assert course.blind is not None and course.blind.count == 2  # in three steps nothing is learned
    losses = [r["outer_loss"] for s in searches for r in s.rows[1:]]
    assert course.blind.loss == pytest.approx(np.mean(losses))
    assert "The validation loss at the end of 2 of 2 searches was" in course.warnings()[0]
    assert replace(course, blind=None).warnings() == []
    early = replace(course, settled=(40, 61)).sentences()
    assert "had settled in 2 of 2 searches, which ended at outer steps 40 to 61." in early[1]
    assert "Two replicates cannot show whether the learned ranks" in early[-1]


def test_the_course_of_a_method_that_iterates(tiny: Tiny) -> None:
    config = RunConfig.load(tiny.config, "cg")
    search = SearchResult.load(place(tiny, "learned", 0))
    stops = [("converged", 4), ("negative curvature", 2), ("converged", 6)]
    rows = [
        row | {"stopped": s, "iterations": n}
        for row, (s, n) in zip(search.rows, stops, strict=True)
    ]
    course = Course.of(config, [replace(search, rows=rows)])
    assert course.solved is not None
    assert (course.solved.iterations, course.solved.damping) == (4, 10)
    assert course.solved.stopped_early == pytest.approx(1 / 3)
    assert "in 33% of the outer steps" in course.sentences()[0]


def test_the_summary_says_which_arms_had_a_start_and_how_far_intervals_reach(
    table: StudyTable,
) -> None:
    assert "went on" not in summary(table)
    assert "Replicates are random splits of the data.\n" in summary(table)
    begun = {"learned": "search", "frozen": "search"}
    rows = tuple(row | {"start": begun.get(row["arm"], "scratch")} for row in table.rows)
    said = "learned, frozen went on from what the search trained, uniform, shuffled began from"
    assert said in summary(replace(table, rows=rows))
    rows = tuple(row | {"start": "search"} for row in table.rows)
    every = summary(replace(table, rows=rows))
    assert "Every arm went on from what its search trained." in every
    three = made({arm: {m: [0.1, i, 0.3] for m in METRICS} for i, arm in enumerate(ARMS)})
    told = "splits of the data, and 10 intervals are given, uncorrected for their number."
    assert told in summary(three)


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
