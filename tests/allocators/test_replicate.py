"""The arms of a replicate: at one budget, on one split, from the searches that they share."""

import json
import shutil
from pathlib import Path

import pytest

from autolora_meta.allocators.random_gates import ALLOCATOR as RANDOM_GATES
from autolora_meta.allocators.replicate import Replicate, allocator
from autolora_meta.config.run import RunConfig
from autolora_meta.errors import InputError
from autolora_meta.foundation.progress import Silent
from autolora_meta.pipeline.result import SearchResult
from autolora_meta.studies.study import Study
from autolora_meta.studies.table import StudyTable
from autolora_meta.studies.work import retrain_once, search_once
from tests.end_to_end import Tiny
from tests.studies.tiny_run import place, results


@pytest.fixture
def table(tiny: Tiny) -> StudyTable:
    return StudyTable.load(tiny.run)


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
    given = ["compare.equal_cost=true", "compare.arms=[learned, uniform, para, while_training]"]
    config = RunConfig.load(tiny.config, *given, "compare.replicates=1")
    found = Study.of(config, tmp_path / "run").run(progress=told)
    costs = {row["arm"]: row["cost"] for row in found.finished}
    assert costs["learned"] == table.rows[0]["cost"]
    for arm in (
        "uniform",
        "para",
        "while_training",
    ):  # whole steps, so that a part of one may be left
        assert costs["learned"] - 1 < costs[arm] <= costs["learned"]
    starts = {row["arm"]: row["start"] for row in found.finished}
    assert starts.pop("while_training") == "search" and set(starts.values()) == {"scratch"}
    longer = RunConfig.load(tmp_path / "run" / "runs" / found.rows[1]["id"] / "config.yaml")
    assert longer.retrain.steps == int(costs["learned"]) > 4
    assert told.done == pytest.approx(told.meant, rel=0.1)
