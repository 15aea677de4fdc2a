"""From scores of components, or weights of layers, to ranks at the budget."""

from collections.abc import Callable

import torch
from torch import Tensor

from autolora_meta.allocators.replicate import Allocator, Replicate
from autolora_meta.config.run import RunConfig
from autolora_meta.ranks.options import bounds
from autolora_meta.ranks.pattern import RankPattern
from autolora_meta.ranks.rules import spend


def by_scores(replicate: Replicate, scores: Tensor) -> RankPattern:
    """Allocate the replicate's budget to components in descending score, over all layers.

    This is the run's rule `budget` with its limits on ranks and its order of ties, so that every
    peer meets the budget in the same way.

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
    """Allocate ranks in proportion to weights, as closely as whole numbers at the budget allow.

    Args:
        replicate: gives layers, costs and budget.
        weights: one for each layer, at least 0; no rank is above k. (L,)
    """
    return by_scores(replicate, proportional(weights, replicate.config.lora.k))


def proportional(weights: Tensor, k: int) -> Tensor:
    """Return scores by which ranks grow in proportion to weights. (L, k)

    r_l = round(t w_l) with one t for all layers, as large as the budget pays: component j of layer
    l enters when t reaches (j - 1/2) / w_l.

    Args:
        weights: one for each layer, at least 0. (L,)
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
    """Return an allocator that scores components, whatever the budget, and keeps the best.

    Args:
        scores: replicate -> a score for each component of each layer. (L, k)
        summary, source, work, static: as in `Allocator`.
    """
    return Allocator(
        lambda replicate: by_scores(replicate, scores(replicate)),
        summary,
        source,
        work=work,
        scores=scores,
        static=static,
    )
