"""Rules that turn scores of components into integer ranks, and the patterns of the controls."""

import math
import random
from collections.abc import Sequence
from typing import Literal

import torch
from pydantic import Field, field_validator, model_validator
from torch import Tensor

from autolora_meta.errors import InputError, unknown
from autolora_meta.options import Options
from autolora_meta.ranks.budget import Budget
from autolora_meta.ranks.importance import IMPORTANCE, Components
from autolora_meta.ranks.pattern import RankPattern

GOLDEN = (math.sqrt(5) - 1) / 2


class RankOptions(Options):
    """How ranks are read from a search."""

    importance: str = Field(
        default="contribution",
        description="Score of a component: alpha (the gate), contribution (norm of the gated "
        "component) or singular (singular values of the gated update).",
    )
    rule: Literal["budget", "threshold"] = Field(
        default="budget",
        description="budget: the best components over all layers until the budget is spent. "
        "threshold: in each layer, the components whose score reaches the layer's mean; with "
        "importance alpha this is the paper's rule, alpha >= 1/k.",
    )
    budget: Budget = Field(
        default=Budget("uniform:2"),
        description="What the rule `budget`, and every arm of a comparison, may spend: a number of "
        "adapter parameters, uniform:R (as many as rank R in every targeted layer) or total-rank:N "
        "(ranks that sum to N).",
    )
    min_rank: int = Field(
        default=0, ge=0, description="Every layer gets at least this rank; 0 may leave it out."
    )
    max_rank: int | None = Field(
        default=None,
        ge=1,
        description="No layer gets more than this rank; null means k, all components.",
    )
    per: Literal["component", "parameter"] = Field(
        default="component",
        description="What the rule `budget` ranks by. component: the score. parameter: squared "
        "score over cost, the energy bought per unit of budget, which favours small layers.",
    )

    @field_validator("importance")
    @classmethod
    def _known_importance(cls, value: str) -> str:
        if value not in IMPORTANCE:
            raise ValueError(unknown("importance", value, IMPORTANCE))
        return value

    @model_validator(mode="after")
    def _ordered(self) -> "RankOptions":
        if self.max_rank is not None and self.min_rank > self.max_rank:
            raise ValueError(
                f"min_rank {self.min_rank} is above max_rank {self.max_rank}; lower one or "
                "raise the other"
            )
        return self


def allocate(components: Components, options: RankOptions) -> RankPattern:
    """Integer ranks for the layers of a search.

    Rule `threshold`: r_l = #{j : s_lj >= mean_j s_lj}, so gates that sum to one and gates that sum
    to k give the same ranks, and every layer gets at least 1.

    Rule `budget`: components in descending priority, over all layers, for as long as they fit; one
    that does not fit is passed over, and cheaper ones may still enter. Ties go to the component
    that stands higher in its own layer, then to the layer that comes first in the model, so that
    scores that are all equal give uniform ranks. What stays unspent is `unspent(pattern, budget)`.

    Args:
        components: what a search left behind, L layers with k components.
        options: importance, rule and limits.

    Returns:
        A pattern with the names, costs, k and scale of `components`.

    Raises:
        InputError: the budget is too small, a limit is above k, or a score is not finite.

    Source: threshold with alpha: AutoLoRA, arXiv 2403.09113, section 3.2 (lambda = 1/k).

    Example:
        >>> from autolora_meta.ranks.importance import Components
        >>> gates = torch.tensor([[0.9, 0.1], [0.6, 0.4]])
        >>> ones = torch.ones(2, 2)
        >>> components = Components(("q", "v"), (10, 10), 1.0, gates, ones, ones, ones)
        >>> allocate(components, RankOptions(importance="alpha", budget=30)).ranks
        (1, 2)
    """
    scores = _finite(components, options.importance)
    least, most = bounds(components.k, options)
    if options.rule == "threshold":
        # r_l = #{j : s_lj >= (1/k) sum_j s_lj}; the slack keeps k equal scores above their own mean
        reached = scores >= scores.mean(dim=1, keepdim=True) * (1 - 1e-12)
        ranks = reached.sum(dim=1).clamp(least, most).tolist()
    else:
        ranks = _spend(scores, components.costs, least, most, options)
    return RankPattern(
        components.names, tuple(ranks), components.costs, components.k, components.scale
    )


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


def bounds(k: int, options: RankOptions) -> tuple[int, int]:
    """Smallest and largest rank that a layer of k components may get.

    Raises:
        InputError: a limit is above k.
    """
    for name, value in (("min_rank", options.min_rank), ("max_rank", options.max_rank)):
        if value is not None and value > k:
            raise InputError(
                f"{name} {value} is above k = {k}, the components of each layer in the search; "
                f"give at most {k}, or search with a larger k"
            )
    return options.min_rank, options.max_rank or k


def _spend(
    scores: Tensor, costs: tuple[int, ...], least: int, most: int, options: RankOptions
) -> list[int]:
    limit, units = options.budget.checked_limit(costs, least)
    ordered = scores.sort(dim=1, descending=True, stable=True).values  # (L, k)
    priority = ordered
    if options.per == "parameter":
        # s^2 / cost: for singular values, the share of ||Delta W||_F^2 that a unit of budget buys
        priority = ordered.square() / torch.tensor(units, dtype=ordered.dtype)[:, None]
    ranks = [least] * len(units)
    left = limit - least * sum(units)
    # Flattened place by place, a stable sort breaks ties by place in the layer, then by layer.
    by_priority = priority[:, least:most].T.flatten().argsort(descending=True, stable=True)
    for index in by_priority.tolist():
        layer = index % len(units)
        if units[layer] <= left:
            ranks[layer] += 1
            left -= units[layer]
    return ranks


def uniform_pattern(
    names: Sequence[str], costs: Sequence[int], k: int, scale: float, budget: Budget
) -> RankPattern:
    """The control: the largest equal rank that fits, and what is left spread over depth.

    The remainder goes out one rank at a time, to each layer that it still pays for, in the order
    of frac(i (sqrt(5) - 1) / 2), i being the place of the layer: any first part of that order is
    spread evenly over the depth of the model, and does not favour one kind of module as a fixed
    stride would. The walk is repeated until nothing fits. No rank is above k, so a budget above
    rank k everywhere is not all spent: `unspent(pattern, budget)` says how much is left.

    Args:
        names: layers in the order of the model. (L,)
        costs: parameters of one rank in each layer. (L,)
        k: largest rank allowed.
        scale: the constant c.
        budget: what may be spent.

    Raises:
        InputError: the budget is smaller than the cheapest component.

    Example:
        >>> uniform_pattern(["a", "b"], [10, 10], k=4, scale=1.0, budget=Budget(30)).ranks
        (2, 1)
    """
    limit, units = budget.checked_limit(costs)
    even = min(limit // sum(units), k)
    ranks = [even] * len(units)
    left = limit - even * sum(units)
    order = sorted(range(len(units)), key=lambda i: (i * GOLDEN) % 1)
    fits = True
    while fits:
        fits = False
        for i in order:
            if units[i] <= left and ranks[i] < k:
                ranks[i] += 1
                left -= units[i]
                fits = True
    return RankPattern(tuple(names), tuple(ranks), tuple(costs), k, scale)


def shuffled_pattern(pattern: RankPattern, seed: int) -> RankPattern:
    """The control: the same ranks, permuted among layers of equal cost, so as many parameters.

    The permutation is drawn from all of them: now and then it is the pattern itself, always so
    where no two layers of equal cost differ in rank.

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
