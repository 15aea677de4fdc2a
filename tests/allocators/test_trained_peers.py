"""Peers that train, on a task whose right ranks are known."""

import pytest
import torch

from autolora_meta.allocators.adalora import ALLOCATOR as ADALORA
from autolora_meta.allocators.allocation import allocation
from autolora_meta.allocators.dylora import ALLOCATOR as DYLORA
from autolora_meta.allocators.dylora import FROZEN as DYLORA_FROZEN
from autolora_meta.allocators.dylora import needed, scores
from autolora_meta.allocators.l1 import ALLOCATOR as L1
from autolora_meta.allocators.l1 import soft_threshold
from autolora_meta.allocators.para import ALLOCATOR as PARA
from autolora_meta.allocators.replicate import Allocator
from autolora_meta.allocators.training import peer_steps
from tests.allocators.planted import RANKS, planted

TRAINED = {"para": PARA, "adalora": ADALORA, "l1": L1, "dylora": DYLORA, "frozen": DYLORA_FROZEN}


@pytest.mark.parametrize("peer", TRAINED.values(), ids=TRAINED.keys())
def test_planted_ranks_are_found(peer: Allocator) -> None:
    replicate = planted()
    before = {name: w.clone() for name, w in replicate.prepared.model.state_dict().items()}
    found = allocation(peer, replicate)
    assert found.pattern.ranks == RANKS
    steps = peer_steps(replicate.config)
    assert found.spent.cost.backwards == steps and found.spent.cost.forwards >= steps
    assert found.spent.cost.double_backwards == 0 and found.spent.seconds > 0
    assert replicate.cost == found.spent.cost
    after = replicate.prepared.model.state_dict()
    assert after.keys() == before.keys()
    assert all(torch.equal(after[name], w) for name, w in before.items())


def test_a_peer_trains_for_what_the_learned_search_costs() -> None:
    config = planted("search.hypergradient=cg", "search.seeds=2").config
    assert peer_steps(config) >= 2 * config.search.work("learned") > config.search.work("frozen")


@pytest.mark.parametrize("peer", TRAINED.values(), ids=TRAINED.keys())
def test_equal_seeds_give_equal_ranks_and_every_budget_is_spent(peer: Allocator) -> None:
    short = ("search={outer_steps: 2, warmup_steps: 1, batch_size: 8, outer_batch_size: 8}",)
    for budget, total in ((1, 1), (11, 11), (12, 12)):
        first, again = (planted(*short, f"ranks.budget=total-rank:{budget}") for _ in range(2))
        pattern = peer.allocate(first)
        assert pattern.total_rank == total and pattern == peer.allocate(again)


def test_proximal_step_in_closed_form() -> None:
    gates = torch.tensor([1.0, 0.1, -0.3, 0.0], dtype=torch.float64)
    expected = torch.tensor([0.8, 0.0, -0.1, 0.0], dtype=torch.float64)
    torch.testing.assert_close(soft_threshold(gates, 0.2), expected)


def test_dylora_tolerance_over_layers() -> None:
    losses = torch.tensor([[4.0, 3.0, 1.0, 1.5], [2.0, 0.5, 0.7, 0.4]])
    least = needed(losses)
    for tolerance in (0.05, 0.2, 0.7, 1.7, 2.5):
        # the smallest rank of a layer whose loss is within the tolerance of its best
        ranks = [int((row <= row.min() + tolerance).nonzero()[0]) for row in losses]
        assert (least > tolerance).sum(dim=1).tolist() == ranks


def test_dylora_moves_one_component_a_step_where_it_is_frozen() -> None:
    two_steps = {
        "lora": {"k": 6, "scale": 1.0},
        "search": {
            "outer_steps": 1,
            "warmup_steps": 0,
            "schedule": "alternating",
            "hypergradient": "first_order",
            "batch_size": 16,
        },
    }
    levels = {}
    for frozen in (False, True):
        replicate = planted(two_steps)
        assert peer_steps(replicate.config) == 2
        levels[frozen] = max(len(set(row)) for row in scores(replicate, frozen=frozen).tolist())
    assert levels[True] <= 3 < levels[False]  # as many as components moved, and none
