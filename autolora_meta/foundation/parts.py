"""A batch in parts, each passed by itself, so that memory holds the graph of one part alone."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

Count = Callable[[Any], float]


@dataclass(frozen=True)
class Parts:
    """A batch in parts. Its loss is the sum of theirs, each times its weight.

    Args:
        batches: the parts. (n,)
        weights: the share of each in the mean that a loss is; their sum is 1. (n,)
    """

    batches: tuple[Any, ...]
    weights: tuple[float, ...]

    @classmethod
    def of(cls, batches: Sequence[Any], count: Count) -> "Parts":
        """Return the parts of a batch that is their rows together.

        Args:
            batches: the parts.
            count: how many the loss of a part is the mean of: its rows, or its tokens.

        >>> Parts.of([[1, 2, 3], [4]], count=len).weights
        (0.75, 0.25)
        """
        counts = [float(count(batch)) for batch in batches]
        total = sum(counts)
        # A part with nothing to predict has no loss, and counts for nothing.
        shares = [one / total if total else 1 / len(counts) for one in counts]
        return cls(tuple(batches), tuple(shares))


def each(batch: Any) -> list[tuple[float | None, Any]]:
    """Return the parts that count, each with its weight; of any other batch that alone, with None.

    >>> each("whole")
    [(None, 'whole')]
    """
    if not isinstance(batch, Parts):
        return [(None, batch)]
    pairs = zip(batch.weights, batch.batches, strict=True)
    return [(weight, part) for weight, part in pairs if weight > 0]


def weighted(weight: float | None, loss: Tensor) -> Tensor:
    """Return what the loss of a part adds to that of its batch."""
    return loss if weight is None else weight * loss


def first(batch: Any) -> Any:
    """Return the first part of a batch, or the batch itself."""
    return each(batch)[0][1]


def in_parts(loss: Callable[[Any, Any], Tensor]) -> Callable[[Any, Any], Tensor]:
    """Return a loss that takes batches in parts, too, with one graph for all of them."""

    def of_all(model: Any, batch: Any) -> Tensor:
        losses = [weighted(weight, loss(model, part)) for weight, part in each(batch)]
        return losses[0] if len(losses) == 1 else sum(losses[1:], losses[0])

    return of_all


def rows(batch: Any) -> int:
    """Return the number of rows of a batch: the length of the first tensor in it.

    >>> rows({"input_ids": torch.zeros(4, 7)})  # doctest: +SKIP
    4
    """
    if isinstance(batch, Tensor):
        return len(batch)
    inside = batch.values() if isinstance(batch, Mapping) else batch
    return rows(next(iter(inside)))
