"""Peers on a tiny BERT with a classification head, from texts."""

import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from autolora_meta.allocators import (
    adalora,
    dylora,
    eva,
    fim,
    gora,
    grid,
    l1,
    matryoshka,
    para,
    prilora,
    random_ranks,
    sara,
    shaplora,
    spectral,
    while_training,
)
from autolora_meta.allocators.allocation import Scoring, allocation, scoring
from autolora_meta.allocators.replicate import Allocator, Replicate
from autolora_meta.config.run import RunConfig
from autolora_meta.foundation.cost import Cost
from tests.end_to_end import tiny_setting

PEERS = {
    "random": random_ranks.ALLOCATOR,
    "adalora": adalora.ALLOCATOR,
    "eva": eva.ALLOCATOR,
    "dylora": dylora.ALLOCATOR,
    "dylora_frozen": dylora.FROZEN,
    "prilora": prilora.ALLOCATOR,
    "sara": sara.ALLOCATOR,
    "para": para.ALLOCATOR,
    "gora": gora.ALLOCATOR,
    "l1": l1.ALLOCATOR,
    "grid": grid.ALLOCATOR,
    "spectral": spectral.ALLOCATOR,
    "fim": fim.ALLOCATOR,
    "shaplora": shaplora.ALLOCATOR,
    "matryoshka": matryoshka.ALLOCATOR,
    "while_training": while_training.ALLOCATOR,
}


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> RunConfig:
    return RunConfig.load(tiny_setting(tmp_path_factory.mktemp("tiny")).config)


@pytest.fixture(scope="module")
def replicate(config: RunConfig) -> Replicate:
    all_linear = RunConfig.load(config.model_dump(mode="json"), "lora.targets=all-linear")
    return Replicate(RunConfig.load(all_linear.model_dump(mode="json"), "ranks.budget=1000"), 0)


@pytest.mark.parametrize("peer", PEERS.values(), ids=PEERS.keys())
def test_every_peer_is_at_the_budget_and_leaves_the_model_plain(
    peer: Allocator, replicate: Replicate
) -> None:
    model = replicate.prepared.model
    before = [(name, type(module)) for name, module in model.named_modules()]
    found = allocation(peer, replicate)
    assert [(name, type(module)) for name, module in model.named_modules()] == before
    names, costs = replicate.layers
    assert found.pattern.names == names and found.pattern.costs == costs
    assert found.pattern.scale == replicate.config.lora.scale
    assert 1000 - min(costs) < found.pattern.parameters <= 1000
    assert (found.spent.cost == Cost()) == (peer.work(replicate.config) == 0)
    if sys.platform == "linux":
        assert found.spent.peak_memory is not None and 0 <= found.spent.peak_memory < 2**31


def test_what_was_scored_once_gives_the_same_ranks_at_every_budget(
    config: RunConfig, tmp_path: Path
) -> None:
    peer, given = l1.ALLOCATOR, config.model_dump(mode="json")
    scored = scoring(peer, Replicate(config, 0))
    scored.save(tmp_path / "l1.json")
    for budget in ("uniform:1", "uniform:2"):
        replicate = Replicate(RunConfig.load(given, f"ranks.budget={budget}"), 0)
        found = allocation(peer, replicate, Scoring.load(tmp_path / "l1.json"))
        assert found.pattern == peer.allocate(replicate)
        assert found.spent == scored.spent and found.spent.cost.backwards > 0


def test_grid_tries_higher_ranks_in_fewer_layers(config: RunConfig) -> None:
    replicate = Replicate(config, 0)  # four layers of equal cost, k = 3, as many as uniform rank 1
    tried = grid.candidates(replicate)
    assert tried[1].ranks == (1, 1, 1, 1)
    assert sorted(tried[2].ranks) == [0, 0, 2, 2] and list(tried) == [1, 2]


def test_grid_takes_the_best_on_validation_rows_and_counts_every_training(
    config: RunConfig,
) -> None:
    replicate = Replicate(config, 0)
    tried = list(grid.candidates(replicate).values())
    scores = [grid.validation_score(replicate, pattern) for pattern in tried]
    assert scores[0] != scores[1]
    found = allocation(grid.ALLOCATOR, replicate)
    assert found.pattern == tried[scores.index(max(scores))]
    steps = config.retrain.steps
    assert found.spent.cost == Cost(forwards=2 * (steps + 1), backwards=2 * steps)


def test_grid_reads_a_metric_whichever_way_is_better(
    config: RunConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = SimpleNamespace(metrics={"cross_entropy": 0.5, "accuracy": 0.75})
    monkeypatch.setattr(grid, "retrain", lambda *_, **__: result)
    for metric, score in (("cross_entropy", -0.5), ("accuracy", 0.75)):
        given = RunConfig.load(config.model_dump(mode="json"), f"compare.metrics=[{metric}]")
        replicate = Replicate(given, 0)
        assert grid.validation_score(replicate, grid.uniform_in(replicate, 1)) == score
