"""Rules that turn scores into integer ranks, and the patterns of the controls."""

import math
import random
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from autolora_meta.errors import InputError
from autolora_meta.ranks.budget import Budget
from autolora_meta.ranks.components import Components
from autolora_meta.ranks.options import RankOptions, bounds
from autolora_meta.ranks.pattern import RankPattern

GOLDEN = (math.sqrt(5) - 1) / 2
NOTHING = 1e-2  # of the largest score: what lies below is told apart by no gap


def allocate(components: Components, options: RankOptions) -> RankPattern:
    """Allocate integer ranks to the layers of a search.

    Rule `threshold`: r_l = #{j : s_lj >= t mean_j s_lj}. Gates that sum to one and gates that sum
    to k give the same ranks, and with t = 1 every layer gets at least rank 1. A mean below 0
    (sensitivity) counts as 0. With the unit `score`, r_l = #{j : s_lj >= t}; scores of several
    searches are averaged without scaling.

    Rule `budget`: components enter in descending priority, over all layers, as long as they fit.
    One that does not fit is passed over; cheaper ones may still enter. Ties go to the component
    that is higher in its own layer, then to the layer that comes first in the model, so that equal
    scores give uniform ranks. `unspent(pattern, budget)` is what is left.

    Rule `gap`: with the scores of all layers in descending order, s_(1) >= s_(2) >= ..., those
    above the largest ratio s_(i) / s_(i+1) are kept, the first of equal ones. Scores below a
    hundredth of the largest count as a hundredth of it, so that there is no gap among negligible
    ones. If no ratio reaches `gap`, all are kept. The rule suits spectra with a step, such as equal
    singular values over noise, and not those that decay evenly.

    Args:
        components: of a search, L layers with k components.
        options: importance, rule and limits.

    Returns:
        A pattern with the names, costs, k and scale of `components`.

    Raises:
        InputError: the budget is too small, a limit is above k, or a score is not finite.

    Source: threshold with alpha: AutoLoRA, arXiv 2403.09113, section 3.2 (lambda = 1/k).

    Example:
        >>> from autolora_meta.ranks.components import Components
        >>> gates = torch.tensor([[0.9, 0.1], [0.6, 0.4]])
        >>> ones = torch.ones(2, 2)
        >>> components = Components(("q", "v"), (10, 10), 1.0, gates, ones, ones, ones)
        >>> allocate(components, RankOptions(importance="alpha", budget=30)).ranks
        (1, 2)
    """
    scores = _finite(components, options.importance)
    least, most = bounds(components.k, options)
    if options.rule == "budget":
        limits = {"least": least, "most": most}
        ranks = spend(scores, components.costs, options.budget, **limits, per=options.per)
    else:
        if options.rule == "threshold" and options.threshold_unit == "score":
            scores = _in_their_unit(components, options.importance)
        kept = _above_gap(scores, options) if options.rule == "gap" else _reached(scores, options)
        ranks = tuple(kept.sum(dim=1).clamp(least, most).tolist())
    return RankPattern(components.names, ranks, components.costs, components.k, components.scale)


def _finite(components: Components, importance: str) -> Tensor:
    scores = components.scores(importance)
    broken = [
        name
        for name, fine in zip(components.names, scores.isfinite().all(dim=1), strict=True)
        if not fine
    ]
    if broken:
        raise InputError(
            f"importance '{importance}' is not finite in {len(broken)} layers, first "
            f"'{broken[0]}': the search diverged; lower its learning rates and search again"
        )
    return scores


def _in_their_unit(components: Components, importance: str) -> Tensor:
    """Return scores by their place in the layer; those of pooled searches averaged unscaled."""
    each = [search.scores(importance).sort(dim=1).values for search in components.searches]
    return torch.stack(each).mean(dim=0)


def _reached(scores: Tensor, options: RankOptions) -> Tensor:
    limit = torch.full_like(scores, options.threshold)  # t
    if options.threshold_unit == "layer_mean":
        # t (1/k) sum_j s_lj; below 0 it would let in what does harm
        limit *= scores.mean(dim=1, keepdim=True).clamp_min(0)
    # The slack keeps k equal scores above their own mean, and gates that never moved at theirs.
    return scores >= limit - 1e-12 * limit.abs()


def _above_gap(scores: Tensor, options: RankOptions) -> Tensor:
    ordered = scores.flatten().sort(descending=True).values
    if ordered[0] <= 0:
        return torch.ones_like(scores, dtype=torch.bool)
    ordered = ordered.clamp_min(NOTHING * float(ordered[0]))
    ratios = (ordered[:-1] / ordered[1:]).tolist()  # s_(i) / s_(i+1)
    widest = max(ratios, default=1.0)
    if widest < options.gap:
        return torch.ones_like(scores, dtype=torch.bool)
    return scores >= ordered[ratios.index(widest)]


def spend(
    scores: Tensor,
    costs: Sequence[int],
    budget: Budget,
    *,
    least: int = 0,
    most: int | None = None,
    per: Literal["component", "parameter"] = "component",
) -> tuple[int, ...]:
    """Spend a budget on the components of highest score. (L,)

    Components enter in descending score, over all layers, as long as they fit; one that does not
    fit is passed over. Ties go to the component that is higher in its own layer, then to the layer
    that comes first.

    Args:
        scores: of the components of every layer, in any order within a layer. (L, k)
        costs: parameters of one rank in each layer. (L,)
        budget: what may be spent.
        least: the rank that every layer gets first.
        most: largest rank of a layer; None: k.
        per: rank components by their score, or by score * |score| / cost.

    Raises:
        InputError: the budget is too small, or a score is not finite.

    Example:
        >>> spend(torch.tensor([[3.0, 1.0], [2.0, 0.5]]), [10, 10], Budget(30))
        (2, 1)
    """
    limit, units = budget.checked_limit(costs, least)
    if not scores.isfinite().all():
        raise InputError(
            "the scores of some components are not finite: what measured them diverged"
        )
    priority = scores.sort(dim=1, descending=True, stable=True).values  # (L, k)
    if per == "parameter":
        # s |s| / cost: for singular values, the share of ||Delta W||_F^2 that a unit of budget
        # buys; a score below zero stays below
        priority = priority * priority.abs() / torch.tensor(units, dtype=scores.dtype)[:, None]
    ranks = [least] * len(units)
    left = limit - least * sum(units)
    # Flattened place by place, a stable sort breaks ties by place in the layer, then by layer.
    by_priority = priority[:, least:most].T.flatten().argsort(descending=True, stable=True)
    for index in by_priority.tolist():
        layer = index % len(units)
        if units[layer] <= left:
            ranks[layer] += 1
            left -= units[layer]
    return tuple(ranks)


def uniform_pattern(
    names: Sequence[str],
    costs: Sequence[int],
    k: int,
    scale: float,
    budget: Budget,
    max_rank: int | None = None,
) -> RankPattern:
    """Return the control: the largest equal rank that fits, the remainder spread over depth.

    The remainder is given out one rank at a time, to each layer that it still pays for, in the
    order of `spread_over_depth`; a fixed stride would favour one kind of module. The walk is
    repeated until nothing fits. Since no rank is above `max_rank`, a large budget may stay unspent:
    `unspent(pattern, budget)`.

    Args:
        names: layers in the order of the model. (L,)
        costs: parameters of one rank in each layer. (L,)
        k: components of each layer.
        scale: the constant c.
        budget: what may be spent.
        max_rank: largest rank allowed; None: k.

    Raises:
        InputError: the budget is smaller than the cheapest component.

    Example:
        >>> uniform_pattern(["a", "b"], [10, 10], k=4, scale=1.0, budget=Budget(30)).ranks
        (2, 1)
    """
    limit, units = budget.checked_limit(costs)
    most = max_rank or k
    even = min(limit // sum(units), most)
    ranks = [even] * len(units)
    left = limit - even * sum(units)
    order = spread_over_depth(len(units))
    fits = True
    while fits:
        fits = False
        for i in order:
            if units[i] <= left and ranks[i] < most:
                ranks[i] += 1
                left -= units[i]
                fits = True
    return RankPattern(tuple(names), tuple(ranks), tuple(costs), k, scale)


def narrow_pattern(
    names: Sequence[str],
    costs: Sequence[int],
    k: int,
    scale: float,
    budget: Budget,
    rank: int,
    limits: tuple[int, int],
) -> RankPattern:
    """Return a pattern with one rank in as many layers as the budget pays for, spread over depth.

    What is left when all layers have `rank` is given out one rank at a time, in the same order.

    Args:
        names, costs, k, scale, budget: as of `uniform_pattern`.
        rank: of the layers that get one.
        limits: smallest and largest rank of a layer.

    Example:
        >>> narrow_pattern(["a", "b"], [10, 10], 4, 1.0, Budget(30), rank=3, limits=(0, 4)).ranks
        (3, 0)
    """
    least, most = limits
    limit, units = budget.checked_limit(costs, least)
    order = spread_over_depth(len(units))
    ranks = [least] * len(units)
    left = limit - least * sum(units)
    in_turn = [layer for layer in order for _ in range(least, min(rank, most))]
    in_turn += order * max(0, most - max(rank, least))
    for layer in in_turn:
        if units[layer] <= left:
            ranks[layer] += 1
            left -= units[layer]
    return RankPattern(tuple(names), tuple(ranks), tuple(costs), k, scale)


def spread_over_depth(layers: int) -> list[int]:
    """Return an order of the layers in which every first part is spread evenly over depth.

    Layers are sorted by frac(i (sqrt(5) - 1) / 2), i being the place of a layer.

    >>> spread_over_depth(5)
    [0, 2, 4, 1, 3]
    """
    return sorted(range(layers), key=lambda i: (i * GOLDEN) % 1)


def shuffled_pattern(pattern: RankPattern, seed: int) -> RankPattern:
    """Return the control: the same ranks permuted among layers of equal cost.

    The number of parameters stays the same. The permutation is drawn from all of them and may be
    the pattern itself; it always is if no two layers of equal cost differ in rank.

    Args:
        pattern: the ranks to permute.
        seed: equal seeds give equal permutations.
    """
    draw = random.Random(seed)
    ranks = list(pattern.ranks)
    for cost in sorted(set(pattern.costs)):
        layers = [i for i, c in enumerate(pattern.costs) if c == cost]
        mixed = draw.sample([ranks[i] for i in layers], len(layers))
        for i, rank in zip(layers, mixed, strict=True):
            ranks[i] = rank
    return pattern.with_ranks(ranks)
