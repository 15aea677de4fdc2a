"""From what a peer measures to ranks at the budget: scores of components, or shares of layers."""

from collections.abc import Callable

import torch
from torch import Tensor

from autolora_meta.allocators.replicate import Allocator, Replicate
from autolora_meta.config.run import RunConfig
from autolora_meta.ranks.options import bounds
from autolora_meta.ranks.pattern import RankPattern
from autolora_meta.ranks.rules import spend


def by_scores(replicate: Replicate, scores: Tensor) -> RankPattern:
    """Components in descending score, over all layers, until the replicate's budget is spent.

    The run's rule `budget` does it, with its limits on ranks, so that every peer is at the same
    budget in the same way. Ties go as there.

    Args:
        replicate: gives layers, costs and budget.
        scores: of the components of every layer, in any order within a layer. (L, k)
    """
    names, costs = replicate.layers
    lora, ranks = replicate.config.lora, replicate.config.ranks
    least, most = bounds(lora.k, ranks)
    spent = spend(scores, costs, replicate.budget, least=least, most=most)
    return RankPattern(names, spent, costs, lora.k, lora.scale)


def in_proportion(replicate: Replicate, weights: Tensor) -> RankPattern:
    """Ranks in proportion to weights, as near as whole numbers at the budget come.

    Args:
        replicate: gives layers, costs and budget.
        weights: one a layer, at least 0; k cuts what would be above. (L,)
    """
    return by_scores(replicate, proportional(weights, replicate.config.lora.k))


def proportional(weights: Tensor, k: int) -> Tensor:
    """Scores by which components come in so that ranks grow in proportion to weights.

    r_l = round(t w_l) with one t for all layers, as large as the budget pays: component j of layer
    l enters when t reaches (j - 1/2) / w_l.

    Args:
        weights: one a layer, at least 0. (L,)
        k: components of a layer.

    Source: the divisor method of Webster (1832).

    >>> proportional(torch.tensor([1.0, 3.0]), k=2)
    tensor([[2.0000, 0.6667],
            [6.0000, 2.0000]], dtype=torch.float64)
    """
    place = torch.arange(1, k + 1, dtype=torch.float64) - 0.5  # j - 1/2
    return weights.double()[:, None] / place  # w_l / (j - 1/2)


def scored(
    scores: Callable[[Replicate], Tensor],
    *,
    summary: str,
    source: str,
    work: Callable[[RunConfig], float] = lambda config: 0.0,
    static: bool = False,
) -> Allocator:
    """An allocator that measures components, whatever the budget, and takes the best of them.

    Args:
        scores: replicate -> a score for each component of each layer. (L, k)
        summary, source, work, static: as of every `Allocator`.
    """
    return Allocator(
        lambda replicate: by_scores(replicate, scores(replicate)),
        summary,
        source,
        work=work,
        scores=scores,
        static=static,
    )
