"""ShapLoRA: Shapley values against all coalitions of a small game, and of planted components."""

from collections.abc import Callable
from itertools import combinations
from math import factorial

import pytest
import torch
from torch import Tensor

from autolora_meta.allocators import shaplora
from autolora_meta.allocators.allocation import allocation
from autolora_meta.allocators.shapley import antithetic_pair
from autolora_meta.allocators.training import peer_steps
from tests.allocators.planted import planted

Value = Callable[[Tensor], float]
WEIGHTS = torch.tensor([0.5, -1.0, 2.0, 0.0, 3.0, 0.25], dtype=torch.float64)
PAIRS = torch.arange(36.0).view(6, 6).double().sin().triu(1)


def additive(members: Tensor) -> float:
    return float(WEIGHTS[members].sum())


def in_pairs(members: Tensor) -> float:
    inside = members.double()
    return additive(members) + float(inside @ PAIRS @ inside)


def saturating(members: Tensor) -> float:
    """Players take from each other, three and more at a time."""
    return float(torch.tanh(WEIGHTS[members].abs().sum())) + 2.0 * bool(members[:3].all())


def exact(value: Value, players: int) -> list[float]:
    """phi_i = sum_S |S|! (n - |S| - 1)! / n! (v(S + i) - v(S)) over all 2^(n-1) coalitions."""
    found = []
    for i in range(players):
        others = [j for j in range(players) if j != i]
        phi = 0.0
        for size in range(players):
            share = factorial(size) * factorial(players - size - 1) / factorial(players)
            for coalition in combinations(others, size):
                mask = torch.zeros(players, dtype=torch.bool)
                mask[list(coalition)] = True
                without = value(mask)
                mask[i] = True
                phi += share * (value(mask) - without)
        found.append(phi)
    return found


@pytest.mark.parametrize("value", [additive, in_pairs])
def test_one_pair_is_exact_where_players_meet_in_pairs_at_most(value: Value) -> None:
    found = antithetic_pair(value, 6, torch.Generator().manual_seed(0))
    assert found.tolist() == pytest.approx(exact(value, 6), abs=1e-12)


def test_the_mean_of_pairs_goes_to_the_exact_values_of_any_game() -> None:
    draw = torch.Generator().manual_seed(0)
    pairs = torch.stack([antithetic_pair(saturating, 6, draw) for _ in range(800)])
    expected = torch.tensor(exact(saturating, 6), dtype=torch.float64)
    error = pairs.std(dim=0) / 800**0.5
    assert error.max() > 0.005  # one pair is not exact here
    assert ((pairs.mean(dim=0) - expected).abs() < 4 * error + 1e-12).all()
    whole = saturating(torch.ones(6, dtype=torch.bool)) - saturating(torch.zeros(6).bool())
    torch.testing.assert_close(pairs.sum(dim=1), torch.full((800,), whole, dtype=torch.float64))


def test_a_pair_asks_for_two_coalitions_a_player() -> None:
    asked: list[int] = []

    def value(members: Tensor) -> float:
        asked.append(int(members.sum()))
        return 0.0

    for players in (1, 5):
        asked.clear()
        antithetic_pair(value, players, torch.Generator())
        assert len(asked) == 2 * players and asked.count(0) == asked.count(players) == 1


def test_players_are_as_small_as_the_passes_allow() -> None:
    assert shaplora.grouping(layers=10, k=4, forwards=80) == (1, 1)
    assert shaplora.grouping(layers=10, k=4, forwards=165) == (1, 2)
    assert shaplora.grouping(layers=10, k=4, forwards=79) == (2, 1)
    assert shaplora.grouping(layers=10, k=4, forwards=5) == (4, 1)  # a layer is a player at most


def test_planted_ranks_are_found_at_the_cost_of_the_search() -> None:
    replicate = planted()
    found = allocation(shaplora.ALLOCATOR, replicate)
    assert found.pattern.ranks == (3, 1, 0)
    cost, steps = found.spent.cost, peer_steps(replicate.config)
    assert steps - 12 < (cost.forwards + cost.backwards) / 2 <= steps
    assert cost.backwards == steps // 2
    assert {p.requires_grad for p in replicate.prepared.model.parameters()} == {True}


def test_directions_of_a_group_share_its_value() -> None:
    # Of 18 plain steps 9 are left, 18 forwards; a pair of orders of 12 players would take 24.
    short = "search={outer_steps: 3, warmup_steps: 3, batch_size: 16, outer_batch_size: 16}"
    replicate = planted(short)
    assert peer_steps(replicate.config) == 18
    scores = shaplora.scores(replicate)
    assert torch.equal(scores[:, 0], scores[:, 1]) and torch.equal(scores[:, 2], scores[:, 3])
    assert len(set(scores.flatten().tolist())) > 3
