"""Rules that look at scores alone: the threshold, the paper's, the gap."""

from collections.abc import Sequence
from dataclasses import replace

import pytest
import torch

from autolora_meta.bilevel.gating import GateOptions, Gates
from autolora_meta.errors import InputError
from autolora_meta.ranks.components import Components
from autolora_meta.ranks.rules import (
    RankOptions,
    allocate,
)
from tests.ranks.scored import scored


def test_threshold_counts_gates_of_at_least_one_in_k() -> None:
    gates = [[0.4, 0.3, 0.2, 0.1], [0.25, 0.25, 0.25, 0.25], [0.97, 0.01, 0.01, 0.01]]
    options = RankOptions(importance="alpha", rule="threshold")
    assert allocate(scored(gates), options).ranks == (2, 4, 1)


def test_threshold_is_the_same_for_gates_of_sum_one_and_sum_k() -> None:
    gates = torch.softmax(torch.randn(20, 7, generator=torch.Generator().manual_seed(0)), dim=1)
    options = RankOptions(importance="alpha", rule="threshold")
    one = allocate(scored(gates.tolist()), options)
    assert one.ranks == allocate(scored((7 * gates).tolist()), options).ranks
    assert min(one.ranks) >= 1


@pytest.mark.parametrize("k", [3, 5, 6, 7, 11])
def test_gates_that_are_all_equal_all_reach_the_threshold(k: int) -> None:
    options = RankOptions(importance="alpha", rule="threshold")
    assert allocate(scored([[1 / k] * k, [0.1] * k]), options).ranks == (k, k)


def test_threshold_keeps_to_min_and_max_rank() -> None:
    gates = [[0.97, 0.01, 0.01, 0.01], [0.25, 0.25, 0.25, 0.25]]
    options = RankOptions(importance="alpha", rule="threshold", min_rank=2, max_rank=3)
    assert allocate(scored(gates), options).ranks == (2, 3)


@pytest.mark.parametrize(
    ("threshold", "ranks"), [(0.5, (3, 4, 1)), (1.0, (2, 4, 1)), (1.5, (1, 0, 1)), (4.0, (0, 0, 0))]
)
def test_threshold_is_a_multiple_of_the_layer_s_mean(
    threshold: float, ranks: tuple[int, ...]
) -> None:
    gates = [[0.4, 0.3, 0.2, 0.1], [0.25, 0.25, 0.25, 0.25], [0.97, 0.01, 0.01, 0.01]]
    options = RankOptions(importance="alpha", rule="threshold", threshold=threshold)
    assert allocate(scored(gates), options).ranks == ranks


def test_sigmoid_gates_are_kept_from_half_on() -> None:
    logits = torch.tensor([[0.3, -0.1, 0.0], [-2.0, -1.0, -0.5]], dtype=torch.float64)
    gates = Gates(["a", "b"], 3, GateOptions(constraint="sigmoid"))(logits)
    options = RankOptions(importance="alpha", rule="threshold", threshold_unit="score")
    assert allocate(scored(gates.tolist()), options).ranks == (2, 0)


def test_a_threshold_in_the_unit_of_the_score_reads_pooled_scores_in_that_unit() -> None:
    one = scored([[0.8, 0.25], [0.1, 0.2]])
    options = RankOptions(
        importance="alpha", rule="threshold", threshold=0.5, threshold_unit="score"
    )
    assert allocate(one, options).ranks == (1, 0)
    assert allocate(Components.pooled([one, one]), options).ranks == (1, 0)
    # The larger half of each layer has the means 0.7 and 0.6, the smaller 0.375 and 0.3.
    other = scored([[0.5, 0.6], [0.5, 1.0]])
    assert allocate(Components.pooled([one, other]), options).ranks == (1, 1)


def test_a_threshold_lets_in_no_component_that_does_harm() -> None:
    harm = torch.tensor([[-3.0, -1.0, -2.0], [-1.0, 2.0, 0.1]], dtype=torch.float64)
    measured = replace(scored([[1.0] * 3] * 2), sensitivity=harm)
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


def noisy(ranks: Sequence[int], k: int, noise: float) -> Components:
    """Equal scores for the true rank of each layer, noise for the rest of its components."""
    draw = torch.Generator().manual_seed(0)
    scores = noise * torch.rand(len(ranks), k, generator=draw, dtype=torch.float64)
    for layer, rank in enumerate(ranks):
        scores[layer, :rank] = 1.0 + 0.1 * torch.rand(rank, generator=draw, dtype=torch.float64)
    return scored(scores.tolist())


@pytest.mark.parametrize("noise", [0.0, 1e-4, 0.1, 0.3])
@pytest.mark.parametrize("ranks", [(0, 1, 2, 4), (4, 4, 4, 3), (0, 0, 0, 1)])
def test_a_step_over_noise_is_found_with_layers_of_no_rank_and_of_full_rank(
    ranks: tuple[int, ...], noise: float
) -> None:
    options = RankOptions(importance="alpha", rule="gap")
    assert allocate(noisy(ranks, 4, noise), options).ranks == ranks


def test_no_gap_is_found_among_what_is_nothing() -> None:
    scores = [[1.0, 0.9, 0.3], [0.8, 1e-5, 1e-9], [0.7, 0.3, 0.0]]
    assert allocate(scored(scores), RankOptions(importance="alpha", rule="gap")).ranks == (
        3,
        1,
        2,
    )


def test_without_a_gap_every_component_is_kept() -> None:
    options = RankOptions(importance="singular", rule="gap", max_rank=2)
    for scores in ([[1.0, 0.8, 0.6], [0.9, 0.7, 0.5]], [[0.0] * 3] * 2, [[-0.1, -0.2, -9.0]] * 2):
        assert allocate(scored(scores), options).ranks == (2, 2)
    wide = [[1.0, 0.8, 0.3], [0.9, 0.7, 0.3]]
    assert allocate(scored(wide), options.changed(max_rank=None)).ranks == (2, 2)
    assert allocate(scored(wide), options.changed(gap=3, max_rank=None)).ranks == (3, 3)
