"""The search from a configuration: its bytes, its gates, its ranks, its controls."""

from itertools import pairwise
from pathlib import Path

import pytest
import torch

from autolora_meta.config.run import RunConfig
from autolora_meta.errors import InputError
from autolora_meta.foundation.progress import Silent
from autolora_meta.pipeline.check import check
from autolora_meta.pipeline.result import SearchResult
from autolora_meta.pipeline.retrain import retrain
from autolora_meta.pipeline.search import search
from tests.pipeline.tiny_search import changed, files


def test_one_seed_gives_the_same_bytes_and_another_seed_others(
    config: RunConfig, result: SearchResult, tmp_path: Path
) -> None:
    torch.manual_seed(5)
    torch.rand(7)  # what the caller drew before does not matter
    first = files(result, tmp_path / "first")
    assert set(first) == {
        "ranks.json",
        "alphas.safetensors",
        "metrics.jsonl",
        "search/importance.safetensors",
        "search/start.safetensors",
        "search/search.json",
        "manifest-sha256.txt",
    }
    assert files(search(config), tmp_path / "again") == first
    other = files(search(config, seed=1), tmp_path / "other")
    for name in ("alphas.safetensors", "metrics.jsonl", "search/importance.safetensors"):
        assert other[name] != first[name]


def test_the_ranks_are_followed_while_they_are_learned(
    config: RunConfig, result: SearchResult
) -> None:
    assert result.ranks_trajectory.shape == (1 + 3, 4)
    assert tuple(result.ranks_trajectory[-1].tolist()) == result.ranks.ranks
    moved = result.ranks_trajectory.diff(dim=0).abs().sum(1) / 2
    assert [row["ranks_moved"] for row in result.rows] == moved.tolist()
    scores = result.components.scores(result.options.importance).sum(dim=-1).float()
    assert result.importance_trajectory is not None
    assert result.importance_trajectory.shape == (1 + 3, 4)
    assert torch.equal(result.importance_trajectory[-1], scores)
    frozen = search(config, selection="frozen")
    assert frozen.ranks_trajectory.shape == (1 + 2 + 3, 4)
    assert not result.settled


def test_the_gates_move_and_every_outer_step_has_its_row(
    config: RunConfig, result: SearchResult
) -> None:
    assert result.trajectory.shape == (1 + 3, 4, 3)
    assert torch.equal(result.trajectory[0], torch.ones(4, 3))
    assert all((a != b).any() for a, b in pairwise(result.trajectory))
    assert [row["outer_step"] for row in result.rows] == [1, 2, 3]
    frozen = search(config, selection="frozen")
    assert torch.equal(frozen.components.gates, torch.ones(4, 3).to(frozen.components.gates))


def test_random_gradients_are_a_search_of_their_own(
    config: RunConfig, result: SearchResult
) -> None:
    found = search(config, selection="random")
    assert found.trajectory.shape == result.trajectory.shape
    assert not torch.equal(found.trajectory[-1], result.trajectory[-1])
    assert found.cost.forwards == result.cost.forwards - 3 * 3  # no pass for the hypergradient
    assert torch.equal(search(config, selection="random").trajectory, found.trajectory)
    assert found.fingerprint != result.fingerprint


def test_sensitivity_is_measured_when_it_is_asked_for(
    config: RunConfig, result: SearchResult, tmp_path: Path
) -> None:
    asked = changed(config, "ranks.importance=sensitivity")
    with pytest.raises(InputError, match=r"set search.sensitivity_batches to 1 or more.* 12 comp"):
        check(asked)
    with pytest.raises(InputError, match="was not measured"):
        result.allocate(importance="sensitivity")
    measured = search(changed(asked, "search.sensitivity_batches=2"))
    assert measured.cost.forwards == result.cost.forwards + 2 * (4 * 3 + 1)
    assert torch.equal(measured.trajectory, result.trajectory)  # it comes after the search
    scores = measured.components.scores("sensitivity")
    assert scores.shape == (4, 3) and scores.unique().numel() > 6
    assert measured.ranks.total_rank == 4
    measured.save(tmp_path)
    assert SearchResult.load(tmp_path).ranks == measured.ranks


class Counting(Silent):
    """Progress that writes down the threads of each step."""

    def __init__(self, threads: list[int]) -> None:
        self.threads = threads

    def step(self, loss: float | None = None, work: float = 1.0) -> None:
        self.threads.append(torch.get_num_threads())


def test_torch_has_as_many_threads_as_asked_for_and_as_before_afterwards(
    config: RunConfig, result: SearchResult
) -> None:
    assert torch.get_num_threads() == 1
    config = RunConfig.load(config.model_dump(mode="json"), "runtime.threads=2", "retrain.steps=1")
    during = []
    search(config, observe=lambda row: during.append(torch.get_num_threads()))
    retrain(config, result.ranks, progress=Counting(during))
    assert len(during) == 3 + 1 and set(during) == {2}
    assert torch.get_num_threads() == 1
