"""Allocation: the paper's threshold, the budget, the controls, and what is refused."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

import pytest
import torch
import yaml
from pydantic import ValidationError

from autolora_meta.bilevel.gating import GateOptions, Gates
from autolora_meta.errors import InputError
from autolora_meta.ranks.budget import Budget, unspent, unspent_words
from autolora_meta.ranks.importance import Components
from autolora_meta.ranks.pattern import RankPattern
from autolora_meta.ranks.rules import (
    RankOptions,
    allocate,
    shuffled_pattern,
    uniform_pattern,
)


def _components(scores: list[list[float]], costs: list[int] | None = None) -> Components:
    """Layers whose every importance is `scores`."""
    gates = torch.tensor(scores, dtype=torch.float64)
    one = torch.ones_like(gates)
    names = tuple(f"layer.{i}" for i in range(len(scores)))
    return Components(names, tuple(costs or [10] * len(scores)), 2.0, gates, gates, one, gates)


def _random(layers: int, k: int, seed: int) -> Components:
    draw = torch.Generator().manual_seed(seed)
    scores = torch.rand(layers, k, generator=draw).tolist()
    costs = (768, 768, 1920)
    return _components(scores, [costs[i % 3] for i in range(layers)])


# The threshold -------------------------------------------------------------------------------


def test_threshold_counts_gates_of_at_least_one_in_k() -> None:
    gates = [[0.4, 0.3, 0.2, 0.1], [0.25, 0.25, 0.25, 0.25], [0.97, 0.01, 0.01, 0.01]]
    options = RankOptions(importance="alpha", rule="threshold")
    assert allocate(_components(gates), options).ranks == (2, 4, 1)


def test_threshold_is_the_same_for_gates_of_sum_one_and_sum_k() -> None:
    gates = torch.softmax(torch.randn(20, 7, generator=torch.Generator().manual_seed(0)), dim=1)
    options = RankOptions(importance="alpha", rule="threshold")
    one = allocate(_components(gates.tolist()), options)
    assert one.ranks == allocate(_components((7 * gates).tolist()), options).ranks
    assert min(one.ranks) >= 1


@pytest.mark.parametrize("k", [3, 5, 6, 7, 11])
def test_gates_that_are_all_equal_all_reach_the_threshold(k: int) -> None:
    options = RankOptions(importance="alpha", rule="threshold")
    assert allocate(_components([[1 / k] * k, [0.1] * k]), options).ranks == (k, k)


def test_threshold_keeps_to_min_and_max_rank() -> None:
    gates = [[0.97, 0.01, 0.01, 0.01], [0.25, 0.25, 0.25, 0.25]]
    options = RankOptions(importance="alpha", rule="threshold", min_rank=2, max_rank=3)
    assert allocate(_components(gates), options).ranks == (2, 3)


@pytest.mark.parametrize(
    ("threshold", "ranks"), [(0.5, (3, 4, 1)), (1.0, (2, 4, 1)), (1.5, (1, 0, 1)), (4.0, (0, 0, 0))]
)
def test_threshold_is_a_multiple_of_the_layer_s_mean(
    threshold: float, ranks: tuple[int, ...]
) -> None:
    gates = [[0.4, 0.3, 0.2, 0.1], [0.25, 0.25, 0.25, 0.25], [0.97, 0.01, 0.01, 0.01]]
    options = RankOptions(importance="alpha", rule="threshold", threshold=threshold)
    assert allocate(_components(gates), options).ranks == ranks


def test_sigmoid_gates_are_kept_from_half_on() -> None:
    logits = torch.tensor([[0.3, -0.1, 0.0], [-2.0, -1.0, -0.5]], dtype=torch.float64)
    gates = Gates(["a", "b"], 3, GateOptions(constraint="sigmoid"))(logits)
    options = RankOptions(importance="alpha", rule="threshold", threshold_unit="score")
    assert allocate(_components(gates.tolist()), options).ranks == (2, 0)


def test_a_threshold_in_the_unit_of_the_score_reads_pooled_scores_in_that_unit() -> None:
    one = _components([[0.8, 0.25], [0.1, 0.2]])
    options = RankOptions(
        importance="alpha", rule="threshold", threshold=0.5, threshold_unit="score"
    )
    assert allocate(one, options).ranks == (1, 0)
    assert allocate(Components.pooled([one, one]), options).ranks == (1, 0)
    # The larger half of each layer has the means 0.7 and 0.6, the smaller 0.375 and 0.3.
    other = _components([[0.5, 0.6], [0.5, 1.0]])
    assert allocate(Components.pooled([one, other]), options).ranks == (1, 1)


def test_a_threshold_lets_in_no_component_that_does_harm() -> None:
    harm = torch.tensor([[-3.0, -1.0, -2.0], [-1.0, 2.0, 0.1]], dtype=torch.float64)
    measured = replace(_components([[1.0] * 3] * 2), sensitivity=harm)
    options = RankOptions(importance="sensitivity", rule="threshold")
    assert allocate(measured, options).ranks == (0, 1)


def test_the_paper_s_rule_is_alpha_of_at_least_one_in_k_whatever_the_base_reads() -> None:
    paper = RankOptions(rule="paper")
    assert paper == RankOptions(importance="alpha", rule="threshold")
    assert RankOptions(importance="singular").changed(rule="paper") == paper
    assert RankOptions(min_rank=1).changed(rule="paper").min_rank == 1
    with pytest.raises(InputError, match="importance singular is given, and the rule paper reads"):
        RankOptions().changed(rule="paper", importance="singular")
    with pytest.raises(InputError, match="threshold 2 is given, and the rule paper reads"):
        RankOptions().changed(rule="paper", threshold=2)


# The gap -------------------------------------------------------------------------------------


def _noisy(ranks: Sequence[int], k: int, noise: float) -> Components:
    """Equal scores for the true rank of each layer, noise for the rest of its components."""
    draw = torch.Generator().manual_seed(0)
    scores = noise * torch.rand(len(ranks), k, generator=draw, dtype=torch.float64)
    for layer, rank in enumerate(ranks):
        scores[layer, :rank] = 1.0 + 0.1 * torch.rand(rank, generator=draw, dtype=torch.float64)
    return _components(scores.tolist())


@pytest.mark.parametrize("noise", [0.0, 1e-4, 0.1, 0.3])
@pytest.mark.parametrize("ranks", [(0, 1, 2, 4), (4, 4, 4, 3), (0, 0, 0, 1)])
def test_a_step_over_noise_is_found_with_layers_of_no_rank_and_of_full_rank(
    ranks: tuple[int, ...], noise: float
) -> None:
    options = RankOptions(importance="alpha", rule="gap")
    assert allocate(_noisy(ranks, 4, noise), options).ranks == ranks


def test_no_gap_is_found_among_what_is_nothing() -> None:
    scores = [[1.0, 0.9, 0.3], [0.8, 1e-5, 1e-9], [0.7, 0.3, 0.0]]
    assert allocate(_components(scores), RankOptions(importance="alpha", rule="gap")).ranks == (
        3,
        1,
        2,
    )


def test_without_a_gap_every_component_is_kept() -> None:
    options = RankOptions(importance="singular", rule="gap", max_rank=2)
    for scores in ([[1.0, 0.8, 0.6], [0.9, 0.7, 0.5]], [[0.0] * 3] * 2, [[-0.1, -0.2, -9.0]] * 2):
        assert allocate(_components(scores), options).ranks == (2, 2)
    wide = [[1.0, 0.8, 0.3], [0.9, 0.7, 0.3]]
    assert allocate(_components(wide), options.changed(max_rank=None)).ranks == (2, 2)
    assert allocate(_components(wide), options.changed(gap=3, max_rank=None)).ranks == (3, 3)


# The budget ----------------------------------------------------------------------------------


def test_budget_takes_the_best_components_over_all_layers() -> None:
    components = _components([[0.1, 0.9, 0.8], [0.2, 0.7, 0.3], [0.0, 0.05, 0.01]])
    pattern = allocate(components, RankOptions(importance="alpha", budget=Budget(40)))
    assert pattern.ranks == (2, 2, 0)  # 0.9, 0.8, 0.7, 0.3
    assert (pattern.k, pattern.scale, pattern.costs) == (3, 2.0, (10, 10, 10))


def test_a_component_that_does_not_fit_makes_room_for_cheaper_ones() -> None:
    components = _components([[0.9, 0.8], [0.2, 0.1]], [100, 30])
    pattern = allocate(components, RankOptions(importance="alpha", budget=Budget(165)))
    assert pattern.ranks == (1, 2)  # the second of 100 is passed over, both of 30 enter


@pytest.mark.parametrize("per", ["component", "parameter"])
@pytest.mark.parametrize("budget", [5000, 21_111, "uniform:1", "uniform:3", "total-rank:17"])
def test_budget_is_spent_to_less_than_the_cheapest_component(per: str, budget: int | str) -> None:
    for seed in range(5):
        components = _random(12, 6, seed)
        options = RankOptions.model_validate({"per": per, "budget": budget})
        pattern = allocate(components, options)
        _, units = options.budget.limit(components.costs)
        assert 0 <= unspent(pattern, options.budget) < min(units)


def test_larger_budgets_keep_what_smaller_ones_gave() -> None:
    components = _components(torch.rand(6, 4, generator=torch.Generator().manual_seed(1)).tolist())
    patterns = [allocate(components, RankOptions(budget=Budget(b))) for b in range(10, 250, 10)]
    for small, large in pairwise(patterns):
        assert all(s <= x for s, x in zip(small.ranks, large.ranks, strict=True))
    assert patterns[-1].ranks == (4,) * 6


def test_equal_scores_give_uniform_ranks() -> None:
    components = _components([[0.5] * 3] * 4)
    assert allocate(components, RankOptions(budget=Budget("uniform:2"))).ranks == (2, 2, 2, 2)
    assert allocate(components, RankOptions(budget=Budget(60))).ranks == (2, 2, 1, 1)


def test_min_rank_comes_first_and_max_rank_caps() -> None:
    components = _components([[0.9, 0.8, 0.7], [0.01, 0.01, 0.01]])
    options = RankOptions(importance="alpha", budget=Budget(40), min_rank=1, max_rank=2)
    assert allocate(components, options).ranks == (2, 2)
    assert allocate(components, options.model_copy(update={"budget": Budget(30)})).ranks == (2, 1)


def test_what_full_layers_leave_is_said() -> None:
    components = _components([[0.9, 0.8]] * 3)
    options = RankOptions(budget=Budget("uniform:5"))
    pattern = allocate(components, options)
    assert pattern.ranks == (2, 2, 2)
    assert unspent(pattern, options.budget) == 90
    words = unspent_words(pattern, options.budget)
    assert words and words.startswith("90 of the 150 parameters of budget uniform:5 stay unspent")
    ranks = unspent_words(pattern, Budget("total-rank:7"))
    assert ranks and ranks.startswith("1 of the 7 ranks of budget total-rank:7 stay unspent")


def test_what_buys_no_component_is_not_worth_a_word() -> None:
    pattern = allocate(_components([[0.9, 0.8]] * 3), RankOptions(budget=Budget(39)))
    assert unspent(pattern, Budget(39)) == 9
    assert unspent_words(pattern, Budget(39)) == ""


def test_per_parameter_weighs_energy_against_cost() -> None:
    # One component each: 0.9^2 / 300 < 0.6^2 / 100.
    components = _components([[0.9], [0.6]], [300, 100])
    for per, ranks in {"component": (1, 0), "parameter": (0, 1)}.items():
        options = RankOptions.model_validate({"importance": "alpha", "budget": 300, "per": per})
        assert allocate(components, options).ranks == ranks


def test_total_rank_ignores_cost() -> None:
    components = _components([[0.9, 0.8], [0.6, 0.1]], [300, 100])
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
    components = _components([[0.9, 0.8], [0.2, 0.1]])
    with pytest.raises(InputError) as refusal:
        allocate(components, RankOptions.model_validate(options))
    assert all(number in str(refusal.value) for number in numbers)


@pytest.mark.parametrize("rule", ["budget", "threshold"])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_scores_that_are_not_finite_are_refused(rule: str, value: float) -> None:
    options = RankOptions.model_validate({"rule": rule})
    with pytest.raises(InputError, match=r"not finite in 1 layers, first 'layer\.1'"):
        allocate(_components([[0.9, 0.8], [value, 0.1]]), options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"importance": "alhpa"}, "did you mean 'alpha'"),
        ({"min_rank": 3, "max_rank": 2}, "min_rank 3 is above max_rank 2"),
        ({"rank": 3}, "rank"),
        ({"rule": "threshold", "budget": 30}, "budget 30 parameters is given, and the rule thresh"),
        ({"rule": "gap", "per": "parameter"}, "set rule to budget, or leave per out"),
        ({"threshold": 1.0}, "the rule budget does not read it; set rule to threshold"),
        ({"rule": "paper", "gap": 3}, "the rule threshold does not read it; set rule to gap"),
        ({"rule": "gap", "gap": 1}, "gap"),
        ({"rule": "threshold", "threshold": 0}, "threshold"),
        ({"budget": "uniform"}, "'uniform' is not a budget; allowed: a number"),
        ({"budget": "uniform:0"}, "is not a budget"),
        ({"budget": "uniform:-1"}, "is not a budget"),
        ({"budget": "total-rank:two"}, "is not a budget"),
        ({"budget": 0}, "is not a budget"),
        ({"budget": True}, "budget"),
        ({"budget": 0.5}, "budget"),
    ],
)
def test_options_that_make_no_sense_are_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        RankOptions.model_validate(options)


@pytest.mark.parametrize("given", [20_000, "uniform:4", "total-rank:72"])
def test_budgets_go_to_yaml_and_back_as_given(given: int | str) -> None:
    options = RankOptions.model_validate({"budget": given})
    dumped = yaml.safe_dump(options.model_dump())
    assert yaml.safe_load(dumped)["budget"] == given
    assert RankOptions.model_validate(yaml.safe_load(dumped)) == options


@pytest.mark.parametrize("rule", ["budget", "threshold", "gap", "paper"])
def test_options_are_written_without_those_of_other_rules(rule: str) -> None:
    options = RankOptions.model_validate({"rule": rule, "min_rank": 1})
    written = options.model_dump(mode="json")
    assert RankOptions.model_validate(written) == options
    own = {"budget": {"budget", "per"}, "gap": {"gap"}}.get(rule, {"threshold", "threshold_unit"})
    assert written.keys() == {"importance", "rule", "min_rank", "max_rank"} | own


def test_an_option_of_one_rule_implies_it() -> None:
    by_gap = RankOptions(rule="gap", importance="singular")
    assert by_gap.changed(min_rank=1).rule == "gap"
    for change, rule in (({"budget": 9}, "budget"), ({"threshold": 2}, "threshold")):
        assert by_gap.changed(**change).rule == rule
        assert by_gap.changed(**change).importance == "singular"
    with pytest.raises(InputError, match="budget 9 parameters is given, and the rule gap"):
        by_gap.changed(rule="gap", budget=9)


# The controls --------------------------------------------------------------------------------


def _uniform(costs: list[int], k: int, budget: Budget) -> RankPattern:
    return uniform_pattern([f"layer.{i}" for i in range(len(costs))], costs, k, 2.0, budget)


def test_uniform_ranks_cost_exactly_their_own_budget() -> None:
    pattern = _uniform([768, 768, 1920] * 4, 8, Budget("uniform:3"))
    assert pattern.ranks == (3,) * 12
    assert unspent(pattern, Budget("uniform:3")) == 0


@pytest.mark.parametrize("budget", [3000, 20_000, 41_234, 90_000])
def test_uniform_spends_its_remainder(budget: int) -> None:
    costs = [768, 768, 1920] * 8
    pattern = _uniform(costs, 8, Budget(budget))
    assert 0 <= unspent(pattern, Budget(budget)) < min(costs)
    assert max(pattern.ranks) - min(pattern.ranks) <= 2


def test_the_remainder_is_spread_over_depth_and_over_kinds_of_module() -> None:
    # 12 blocks of 6 kinds, half of the layers get a rank.
    ranks = torch.tensor(_uniform([10] * 72, 4, Budget(360)).ranks).view(12, 6)
    assert ranks.sum() == 36
    assert ranks.sum(dim=1).min() >= 2 and ranks.sum(dim=1).max() <= 4
    assert ranks.sum(dim=0).min() >= 4 and ranks.sum(dim=0).max() <= 8


def test_uniform_ranks_stop_at_k() -> None:
    pattern = _uniform([10, 20], 4, Budget("uniform:6"))
    assert pattern.ranks == (4, 4)
    assert unspent(pattern, Budget("uniform:6")) == 60
    fewer = uniform_pattern(["a", "b"], [10, 20], 4, 2.0, Budget(100), max_rank=2)
    assert fewer.ranks == (2, 2) and fewer.k == 4


def test_uniform_refuses_a_budget_below_one_component() -> None:
    with pytest.raises(InputError, match="allows 9 and the cheapest component costs 10"):
        _uniform([10, 20], 4, Budget(9))


def test_shuffled_ranks_keep_the_parameters_and_the_ranks_of_each_cost() -> None:
    pattern = allocate(_random(24, 6, 0), RankOptions(budget=Budget("uniform:2")))
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
    pattern = allocate(_random(24, 6, 0), RankOptions())
    assert shuffled_pattern(pattern, 5) == shuffled_pattern(pattern, 5)
    assert shuffled_pattern(pattern, 5) != shuffled_pattern(pattern, 6)
