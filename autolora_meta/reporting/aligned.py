"""Rank patterns of one model, brought to the same layers."""

from collections.abc import Sequence
from dataclasses import replace

from autolora_meta.errors import InputError
from autolora_meta.ranks.pattern import RankPattern


def aligned(patterns: Sequence[RankPattern]) -> list[RankPattern]:
    """The patterns over all layers that any of them names, in one order.

    A layer that a pattern does not name has no adapter there: rank 0.

    Args:
        patterns: of one model; k and scale may differ.

    Raises:
        InputError: two share no layer, or a layer's rank does not cost the same in both.

    >>> wide = RankPattern(("q", "k", "v"), (1, 2, 3), (8, 8, 8), k=4, scale=1.0)
    >>> narrow = RankPattern(("q", "v"), (2, 2), (8, 8), k=2, scale=1.0)
    >>> [pattern.ranks for pattern in aligned([narrow, wide])]
    [(2, 0, 2), (1, 2, 3)]
    """
    widest = max(patterns, key=len)
    costs = dict(zip(widest.names, widest.costs, strict=True))
    for pattern in patterns:
        if not costs.keys() & set(pattern.names):
            raise InputError(
                f"these ranks are of different models: one has no layer '{pattern.names[0]}', "
                f"the other no layer '{widest.names[0]}'; give ranks of one model"
            )
        for name, cost in zip(pattern.names, pattern.costs, strict=True):
            if costs.setdefault(name, cost) != cost:
                raise InputError(
                    f"these ranks are of different models: a rank of layer '{name}' costs {cost} "
                    f"parameters in one and {costs[name]} in the other; give ranks of one model"
                )
    names = tuple(costs)
    return [
        replace(
            pattern,
            names=names,
            ranks=tuple(dict(pattern).get(name, 0) for name in names),
            costs=tuple(costs.values()),
        )
        for pattern in patterns
    ]
