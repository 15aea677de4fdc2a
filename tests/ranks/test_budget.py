"""Ranks under a budget: what is taken, what is left, what is refused."""

from itertools import pairwise

import pytest
import torch

from autolora_meta.errors import InputError
from autolora_meta.ranks.budget import Budget, grid, unspent, unspent_words
from autolora_meta.ranks.rules import (
    RankOptions,
    allocate,
)
from tests.ranks.scored import drawn, scored


def test_budget_takes_the_best_components_over_all_layers() -> None:
    components = scored([[0.1, 0.9, 0.8], [0.2, 0.7, 0.3], [0.0, 0.05, 0.01]])
    pattern = allocate(components, RankOptions(importance="alpha", budget=Budget(40)))
    assert pattern.ranks == (2, 2, 0)  # 0.9, 0.8, 0.7, 0.3
    assert (pattern.k, pattern.scale, pattern.costs) == (3, 2.0, (10, 10, 10))


def test_a_component_that_does_not_fit_makes_room_for_cheaper_ones() -> None:
    components = scored([[0.9, 0.8], [0.2, 0.1]], [100, 30])
    pattern = allocate(components, RankOptions(importance="alpha", budget=Budget(165)))
    assert pattern.ranks == (1, 2)  # the second of 100 is passed over, both of 30 enter


@pytest.mark.parametrize("per", ["component", "parameter"])
@pytest.mark.parametrize("budget", [5000, 21_111, "uniform:1", "uniform:3", "total-rank:17"])
def test_budget_is_spent_to_less_than_the_cheapest_component(per: str, budget: int | str) -> None:
    for seed in range(5):
        components = drawn(12, 6, seed)
        options = RankOptions.model_validate({"per": per, "budget": budget})
        pattern = allocate(components, options)
        _, units = options.budget.limit(components.costs)
        assert 0 <= unspent(pattern, options.budget) < min(units)


def test_larger_budgets_keep_what_smaller_ones_gave() -> None:
    components = scored(torch.rand(6, 4, generator=torch.Generator().manual_seed(1)).tolist())
    patterns = [allocate(components, RankOptions(budget=Budget(b))) for b in range(10, 250, 10)]
    for small, large in pairwise(patterns):
        assert all(s <= x for s, x in zip(small.ranks, large.ranks, strict=True))
    assert patterns[-1].ranks == (4,) * 6


def test_equal_scores_give_uniform_ranks() -> None:
    components = scored([[0.5] * 3] * 4)
    assert allocate(components, RankOptions(budget=Budget("uniform:2"))).ranks == (2, 2, 2, 2)
    assert allocate(components, RankOptions(budget=Budget(60))).ranks == (2, 2, 1, 1)


def test_min_rank_comes_first_and_max_rank_caps() -> None:
    components = scored([[0.9, 0.8, 0.7], [0.01, 0.01, 0.01]])
    options = RankOptions(importance="alpha", budget=Budget(40), min_rank=1, max_rank=2)
    assert allocate(components, options).ranks == (2, 2)
    assert allocate(components, options.model_copy(update={"budget": Budget(30)})).ranks == (2, 1)


def test_what_full_layers_leave_is_said() -> None:
    components = scored([[0.9, 0.8]] * 3)
    options = RankOptions(budget=Budget("uniform:5"))
    pattern = allocate(components, options)
    assert pattern.ranks == (2, 2, 2)
    assert unspent(pattern, options.budget) == 90
    words = unspent_words(pattern, options.budget)
    assert words and words.startswith("90 of the 150 parameters of budget uniform:5 stay unspent")
    ranks = unspent_words(pattern, Budget("total-rank:7"))
    assert ranks and ranks.startswith("1 of the 7 ranks of budget total-rank:7 stay unspent")


def test_what_buys_no_component_is_not_worth_a_word() -> None:
    pattern = allocate(scored([[0.9, 0.8]] * 3), RankOptions(budget=Budget(39)))
    assert unspent(pattern, Budget(39)) == 9
    assert unspent_words(pattern, Budget(39)) == ""


def test_per_parameter_weighs_energy_against_cost() -> None:
    # One component each: 0.9^2 / 300 < 0.6^2 / 100.
    components = scored([[0.9], [0.6]], [300, 100])
    for per, ranks in {"component": (1, 0), "parameter": (0, 1)}.items():
        options = RankOptions.model_validate({"importance": "alpha", "budget": 300, "per": per})
        assert allocate(components, options).ranks == ranks


def test_total_rank_ignores_cost() -> None:
    components = scored([[0.9, 0.8], [0.6, 0.1]], [300, 100])
    options = RankOptions(importance="alpha", budget=Budget("total-rank:2"), per="parameter")
    assert allocate(components, options).ranks == (2, 0)


@pytest.mark.parametrize(
    ("options", "numbers"),
    [
        ({"budget": 9}, ["allows 9", "costs 10"]),
        ({"budget": 25, "min_rank": 2}, ["allows 25", "costs 40"]),
        ({"min_rank": 3}, ["min_rank 3", "k = 2"]),
        ({"max_rank": 3}, ["max_rank 3", "k = 2"]),
    ],
)
def test_limits_that_cannot_be_met_are_refused_with_the_numbers(
    options: dict[str, int], numbers: list[str]
) -> None:
    components = scored([[0.9, 0.8], [0.2, 0.1]])
    with pytest.raises(InputError) as refusal:
        allocate(components, RankOptions.model_validate(options))
    assert all(number in str(refusal.value) for number in numbers)


@pytest.mark.parametrize("rule", ["budget", "threshold"])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_scores_that_are_not_finite_are_refused(rule: str, value: float) -> None:
    options = RankOptions.model_validate({"rule": rule})
    with pytest.raises(InputError, match=r"not finite in 1 layers, first 'layer\.1'"):
        allocate(scored([[0.9, 0.8], [value, 0.1]]), options)


def test_the_grid_of_auto_rises_from_a_quarter_of_uniform_1_to_uniform_k() -> None:
    costs = [100, 300, 200]
    found = grid(costs, least=0, most=8)
    limits = [budget.limit(costs)[0] for budget in found.values()]
    assert limits == [150, 300, 600, 1200, 2400, 4800]
    assert [*grid(costs, least=0, most=3)][-2:] == ["uniform:2", "uniform:3"]
    assert [*grid(costs, least=0, most=1)] == ["uniform:1/4", "uniform:1/2", "uniform:1"]


def test_the_grid_of_auto_leaves_out_what_pays_for_too_little() -> None:
    assert [*grid([100, 300], least=2, most=4)] == ["uniform:2", "uniform:4"]
    assert [*grid([100], least=0, most=2)] == ["uniform:1", "uniform:2"]  # a quarter buys no rank


def test_auto_is_refused_where_nothing_can_judge_it() -> None:
    options = RankOptions(importance="alpha", budget=Budget("auto"))
    assert RankOptions.model_validate(options.model_dump()) == options and options.to_choose
    with pytest.raises(InputError, match=r"chosen by `autolora-meta run`.*'uniform:R'"):
        allocate(scored([[0.1, 0.9]]), options)
