"""A comparison: what its rows and intervals are, and what its arms have in common."""

import json
import multiprocessing
import os
import shutil
from collections import defaultdict
from dataclasses import asdict, replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

from autolora_meta.allocators.random_gates import ALLOCATOR as RANDOM_GATES
from autolora_meta.allocators.replicate import Replicate, allocator
from autolora_meta.config.run import RunConfig
from autolora_meta.errors import InputError
from autolora_meta.foundation.progress import Silent
from autolora_meta.pipeline.result import SearchResult
from autolora_meta.reporting.summary import summary, warnings_of
from autolora_meta.statistics.paired import holm, paired_difference
from autolora_meta.statistics.stability import stability
from autolora_meta.studies.compare import Comparison, compare
from autolora_meta.studies.work import retrain_once, search_once
from autolora_meta.workflow import run
from tests.end_to_end import Tiny, contents

ARMS = ("learned", "uniform", "shuffled", "frozen")
METRICS = ("cross_entropy", "accuracy")


@pytest.fixture
def comparison(tiny: Tiny) -> Comparison:
    return Comparison.load(tiny.run / "comparison.json")


def results(tiny: Tiny) -> dict[tuple[str, int], dict[str, Any]]:
    """What each job of the run left: (arm, seed) -> result.json."""
    return {
        (arm, seed): json.loads((tiny.run / f"replicates/{seed}/{arm}/result.json").read_text())
        for arm in ARMS
        for seed in (0, 1)
    }


def test_there_is_a_row_for_each_arm_seed_and_metric(tiny: Tiny, comparison: Comparison) -> None:
    rows = {(row["arm"], row["seed"], row["metric"]): row for row in comparison.rows}
    assert list(rows) == list(product(ARMS, (0, 1), METRICS))
    assert comparison.arms == list(ARMS) and comparison.seeds == [0, 1]
    for (arm, seed), result in results(tiny).items():
        for metric in METRICS:
            row = rows[arm, seed, metric]
            assert row["value"] == result["metrics"][metric]
            assert row["parameters"] == result["parameters"] == 4 * 32  # all at uniform rank 1


def test_differences_are_paired_with_the_intervals_of_scipy(comparison: Comparison) -> None:
    values = defaultdict(list)
    for row in comparison.rows:
        values[row["arm"], row["metric"]].append(row["value"])
    pairs = {(row["arm"], row["baseline"]) for row in comparison.differences}
    against = [(arm, "uniform") for arm in ARMS if arm != "uniform"]
    assert pairs == {*against, ("learned", "shuffled"), ("learned", "frozen")}
    assert len(comparison.differences) == len(pairs) * len(METRICS)
    for row in comparison.differences:
        a, b = values[row["arm"], row["metric"]], values[row["baseline"], row["metric"]]
        assert row["mean"] == pytest.approx(np.mean(a) - np.mean(b), abs=1e-12)
        assert (row["n"], row["level"]) == (2, 0.95)
        if np.ptp(np.subtract(a, b)) > 1e-9:
            interval = stats.ttest_rel(a, b).confidence_interval(0.95)
            assert row["low"] == pytest.approx(interval.low, rel=1e-9)
            assert row["high"] == pytest.approx(interval.high, rel=1e-9)
    assert set(comparison.against_baseline("accuracy")) == set(ARMS) - {"uniform"}


def test_a_sentence_for_each_difference_and_no_claim_from_two_replicates(
    comparison: Comparison,
) -> None:
    sentences = comparison.sentences()
    assert len(sentences) == len(comparison.differences)
    assert all(sentence.startswith("no claim: ") for sentence in sentences)


def test_the_primary_claim_stands_alone_and_all_others_are_one_family(
    comparison: Comparison,
) -> None:
    def difference(values: list[float]) -> dict[str, Any]:
        return asdict(paired_difference(values, [0.0] * 3)) | {"same": False}

    clear, close = difference([-0.200, -0.201, -0.202]), difference([-0.1, -0.12, -0.17])
    assert close["high"] < 0  # alone it is a claim
    pairs = [(row, close) for row in comparison.differences]
    pairs[1] = (comparison.differences[1], clear)
    made = replace(comparison, differences=[row | change for row, change in pairs])
    said = made.sentences()
    first = made.differences[0]
    assert (first["arm"], first["baseline"]) == ("learned", "uniform")
    assert " by " in said[0] and "corrected" not in said[0]  # close, and it was named before
    corrected = holm([paired_p(row) for row in made.differences[1:]])
    assert made.family == len(corrected) == 9  # of both metrics
    assert " by " in said[1] and f"p = {corrected[0]:.2g} corrected" in said[1]
    for one in said[2:]:
        assert one.startswith("No difference between") and "corrected" in one
        assert not any(word in one for word in ("beats", "worse"))
    same = {"same": True}
    made = replace(made, differences=[first | clear, made.differences[1] | same])
    arm, baseline = (made.differences[1][key] for key in ("arm", "baseline"))
    equal = f"{arm} and {baseline} are the same ranks here, with the same results"
    assert made.sentences()[1] == equal and made.family == 0


def paired_p(row: dict[str, Any]) -> float:
    return float(2 * stats.t.sf(abs(row["mean"]) * 3**0.5 / row["sd"], 2))


def test_each_arm_is_at_the_budget_by_its_own_rule(tiny: Tiny) -> None:
    left = results(tiny)
    for seed in (0, 1):
        learned = left["learned", seed]["ranks"]
        assert set(left["uniform", seed]["ranks"].values()) == {1}
        shuffled = left["shuffled", seed]["ranks"]
        assert sorted(shuffled.values()) == sorted(learned.values())
        search = SearchResult.load(tiny.run / f"replicates/{seed}/learned")
        assert dict(search.ranks) == learned
        frozen = SearchResult.load(tiny.run / f"replicates/{seed}/frozen")
        assert frozen.components.gates.unique().tolist() == [1.0]
        assert dict(frozen.ranks) == left["frozen", seed]["ranks"]


def test_arms_cost_what_their_searches_and_retrainings_take(comparison: Comparison) -> None:
    costs = comparison.costs
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
    tiny: Tiny, comparison: Comparison, tmp_path: Path
) -> None:
    place = tmp_path / "run"
    found = retrain_once(RunConfig.load(tiny.run / "config.yaml"), 0, "uniform_longer", place, [])
    assert found["ranks"] == results(tiny)["uniform", 0]["ranks"]
    assert comparison.costs["learned"] - 1 < found["cost"] <= comparison.costs["learned"]
    steps = (place / "0" / "uniform_longer" / "retrain.jsonl").read_text().splitlines()
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


def test_what_is_saved_is_json_and_loaded_again(comparison: Comparison, tmp_path: Path) -> None:
    comparison.save(tmp_path / "comparison.json")
    text = (tmp_path / "comparison.json").read_text()
    json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
    assert Comparison.load(tmp_path / "comparison.json") == comparison
    for content in ("{", "[]", '{"rows": []}'):
        (tmp_path / "comparison.json").write_text(content)
        with pytest.raises(InputError, match="is not a comparison"):
            Comparison.load(tmp_path / "comparison.json")
    with pytest.raises(InputError, match="is not a comparison"):
        Comparison.load(tmp_path / "missing.json")


def test_a_folder_s_searches_serve_other_ranks_but_no_other_search(
    tiny: Tiny, tmp_path: Path
) -> None:
    folder = tmp_path / "replicates"
    shutil.copytree(tiny.run / "replicates", folder)
    before = (folder / "0/learned/search/importance.safetensors").read_bytes()
    config = RunConfig.load(tiny.config, "retrain.steps=2", "compare.replicates=1")
    wide = RunConfig.load(config.model_dump(mode="json"), "ranks.budget=uniform:2")
    comparison = compare(wide, folder=folder)
    assert {row["parameters"] for row in comparison.rows} == {2 * 4 * 32}
    assert SearchResult.load(folder / "0/learned").ranks.parameters == 2 * 4 * 32
    assert (folder / "0/learned/search/importance.safetensors").read_bytes() == before
    for change in ("cg", "lora.k=4", "data.train_rows=40", "search.outer_steps=4"):
        other = Replicate(RunConfig.load(config.model_dump(mode="json"), change), 0, folder=folder)
        with pytest.raises(InputError, match=r"search of another configuration.*another folder"):
            other.search("learned")
    assert Replicate(config, 0, folder=folder).search("frozen").ranks.parameters == 4 * 32


def test_at_equal_cost_the_arms_of_a_run_cost_the_same(
    tiny: Tiny, comparison: Comparison, tmp_path: Path
) -> None:
    class Told(Silent):
        meant, done = 0.0, 0.0

        def start(self, label: str, total: float) -> None:
            self.meant += total

        def step(self, loss: float | None = None, work: float = 1.0) -> None:
            self.done += work

    folder, told = tmp_path / "replicates", Told()
    shutil.copytree(tiny.run / "replicates", folder)  # with the searches
    given = ["compare.equal_cost=true", "compare.arms=[learned, uniform, para]"]
    config = RunConfig.load(tiny.config, *given, "compare.replicates=1")
    found = compare(config, folder=folder, progress=told)
    assert found.costs["learned"] == comparison.costs["learned"]
    for arm in ("uniform", "para"):  # whole steps, so that a part of one may be left
        assert found.costs["learned"] - 1 < found.costs[arm] <= found.costs["learned"]
    kept = json.loads((folder / "0" / "uniform" / "result.json").read_text())
    assert kept["retrain_steps"] == int(found.costs["learned"]) > 4
    assert told.done == pytest.approx(told.meant, rel=0.1)


def test_figures_of_the_searches_are_medians_over_their_outer_steps(
    tiny: Tiny, comparison: Comparison
) -> None:
    searches = [SearchResult.load(tiny.run / f"replicates/{seed}/learned") for seed in (0, 1)]
    shares = [r["implicit_norm"] / r["direct_norm"] for s in searches for r in s.rows]
    found = stability([s.components for s in searches], searches[0].options, over="replicates")
    assert comparison.stability == found
    assert (
        comparison.searches
        == {
            "method": "darts",
            "implicit_share": pytest.approx(np.median(shares)),
            "balanced": True,
            "blind": {  # in three outer steps nothing is learned
                "searches": 2,
                "of": 2,
                "loss": pytest.approx(
                    np.mean([r["outer_loss"] for s in searches for r in s.rows[1:]])
                ),
                "blind_loss": pytest.approx(np.mean([s.blind_loss or 0 for s in searches])),
            },
            "stability": found.written(),
        }
    )
    assert "The validation loss at the end of 2 of 2 searches was" in "".join(
        warnings_of(comparison)
    )
    able = {key: value for key, value in comparison.searches.items() if key != "blind"}
    assert "validation loss" not in summary(replace(comparison, searches=able))


def test_the_summary_says_which_arms_had_a_start(comparison: Comparison) -> None:
    assert comparison.started == [] and "went on" not in summary(comparison)
    some = summary(replace(comparison, started=["learned", "frozen"]))
    said = "learned, frozen went on from what the search trained, uniform, shuffled began from"
    assert said in some
    every = summary(replace(comparison, started=comparison.arms))
    assert "Every arm went on from what its search trained." in every


def test_the_summary_says_how_far_its_intervals_reach(comparison: Comparison) -> None:
    assert "Replicates are random splits of this one data set.\n" in summary(comparison)
    three = replace(comparison, differences=[row | {"n": 3} for row in comparison.differences])
    assert "Two replicates cannot show whether the learned ranks" in summary(comparison)
    settled = {"searches": 2, "settled": [40, 61]}
    early = replace(comparison, searches=comparison.searches | settled)
    assert "had settled in 2 of 2 searches, which ended at outer steps 40 to 61." in summary(early)
    told = "this one data set, and 10 intervals are given, uncorrected for their number."
    assert told in summary(three)


def test_the_whole_job_from_python_leaves_what_the_command_leaves(
    tiny: Tiny, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = RunConfig.load(tiny.config)
    said: list[str] = []
    comparison = run(config, tmp_path / "mine", say=said.append)
    left, before = contents(tmp_path / "mine"), contents(tiny.run)
    assert set(left) == set(before)
    for name in ("comparison.json", "ranks.json", "adapter/adapter_model.safetensors"):
        assert left[name] == before[name], name
    assert comparison == Comparison.load(tmp_path / "mine" / "comparison.json")
    assert left["summary.md"].decode() in "\n".join(said)
    assert capsys.readouterr().out == ""
    with pytest.raises(InputError, match=r"finished work is not overwritten.*overwrite=True"):
        run(config, tmp_path / "mine")
    (tmp_path / "mine" / "config.yaml").unlink()
    with pytest.raises(InputError, match="holds no run"):
        run(config, tmp_path / "mine", overwrite=True)
    assert contents(tmp_path / "mine") == {k: v for k, v in left.items() if k != "config.yaml"}


@pytest.mark.slow
def test_an_error_does_not_wait_for_the_jobs_beside_it(tiny: Tiny, tmp_path: Path) -> None:
    changes = ["retrain.learning_rate=1e30", "retrain.warmup=0", "compare.replicates=1"]
    changes += ["runtime.workers=2", "search.outer_steps=5000", "compare.arms=[learned, uniform]"]
    # The retraining of `uniform` fails at once; the search of `learned` beside it takes minutes.
    with pytest.raises(InputError, match=r"lower retrain\.learning_rate"):
        compare(RunConfig.load(tiny.config, *changes), folder=tmp_path)
    assert not (tmp_path / "0" / "learned" / "search").exists()
    assert multiprocessing.active_children() == []


def test_a_failing_job_ends_the_comparison_with_its_reason(tiny: Tiny, tmp_path: Path) -> None:
    changes = ["retrain.learning_rate=1e30", "retrain.warmup=0", "compare.replicates=1"]
    config = RunConfig.load(tiny.config, *changes, {"compare": {"arms": ["learned", "uniform"]}})
    with pytest.raises(InputError, match=r"lower retrain\.learning_rate"):
        compare(config, folder=tmp_path)
    assert not (tmp_path / "0" / "uniform" / "result.json").exists()


def die(*_: object) -> None:
    """What the system does to a process that takes too much memory."""
    os._exit(9)


@pytest.mark.slow
def test_a_process_that_dies_is_named(tiny: Tiny) -> None:
    few = RunConfig.load(tiny.config, "compare.replicates=1", "compare.arms=[learned, uniform]")
    with pytest.raises(InputError, match=r"retrain learned, seed 0: its process died \(killed"):
        compare(few, keep=die)
    assert multiprocessing.active_children() == []
