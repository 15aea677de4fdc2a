"""Uniform and shuffled ranks: the parameters of the budget, spread evenly or by lot."""

import pytest
import torch

from autolora_meta.errors import InputError
from autolora_meta.ranks.budget import Budget, unspent
from autolora_meta.ranks.pattern import RankPattern
from autolora_meta.ranks.rules import (
    RankOptions,
    allocate,
    shuffled_pattern,
    uniform_pattern,
)
from tests.ranks.scored import drawn


def uniform(costs: list[int], k: int, budget: Budget) -> RankPattern:
    return uniform_pattern([f"layer.{i}" for i in range(len(costs))], costs, k, 2.0, budget)


def test_uniform_ranks_cost_exactly_their_own_budget() -> None:
    pattern = uniform([768, 768, 1920] * 4, 8, Budget("uniform:3"))
    assert pattern.ranks == (3,) * 12
    assert unspent(pattern, Budget("uniform:3")) == 0


@pytest.mark.parametrize("budget", [3000, 20_000, 41_234, 90_000])
def test_uniform_spends_its_remainder(budget: int) -> None:
    costs = [768, 768, 1920] * 8
    pattern = uniform(costs, 8, Budget(budget))
    assert 0 <= unspent(pattern, Budget(budget)) < min(costs)
    assert max(pattern.ranks) - min(pattern.ranks) <= 2


def test_the_remainder_is_spread_over_depth_and_over_kinds_of_module() -> None:
    # 12 blocks of 6 kinds, half of the layers get a rank.
    ranks = torch.tensor(uniform([10] * 72, 4, Budget(360)).ranks).view(12, 6)
    assert ranks.sum() == 36
    assert ranks.sum(dim=1).min() >= 2 and ranks.sum(dim=1).max() <= 4
    assert ranks.sum(dim=0).min() >= 4 and ranks.sum(dim=0).max() <= 8


def test_uniform_ranks_stop_at_k() -> None:
    pattern = uniform([10, 20], 4, Budget("uniform:6"))
    assert pattern.ranks == (4, 4)
    assert unspent(pattern, Budget("uniform:6")) == 60
    fewer = uniform_pattern(["a", "b"], [10, 20], 4, 2.0, Budget(100), max_rank=2)
    assert fewer.ranks == (2, 2) and fewer.k == 4


def test_uniform_refuses_a_budget_below_one_component() -> None:
    with pytest.raises(InputError, match="allows 9 and the cheapest component costs 10"):
        uniform([10, 20], 4, Budget(9))


def test_shuffled_ranks_keep_the_parameters_and_the_ranks_of_each_cost() -> None:
    pattern = allocate(drawn(24, 6, 0), RankOptions(budget=Budget("uniform:2")))
    shuffled = shuffled_pattern(pattern, seed=1)
    assert shuffled.parameters == pattern.parameters
    assert shuffled.ranks != pattern.ranks
    for cost in set(pattern.costs):
        before, after = (
            sorted(r for r, c in zip(p.ranks, p.costs, strict=True) if c == cost)
            for p in (pattern, shuffled)
        )
        assert before == after


def test_shuffles_follow_their_seed() -> None:
    pattern = allocate(drawn(24, 6, 0), RankOptions())
    assert shuffled_pattern(pattern, 5) == shuffled_pattern(pattern, 5)
    assert shuffled_pattern(pattern, 5) != shuffled_pattern(pattern, 6)
