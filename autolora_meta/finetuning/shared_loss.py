"""The loss of this process's rows of a batch, such that those of all processes sum to the batch's.

Every process is given the whole batch, so rows, their order and their padding are those of one
process. It takes its part of the rows, and weighs the mean over them by what they are of the whole.
"""

from collections.abc import Callable, Mapping
from typing import Any, Literal

import torch
from torch import Tensor, nn

from autolora_meta.errors import InputError
from autolora_meta.foundation import processes
from autolora_meta.foundation.content_hash import content_hash
from autolora_meta.foundation.modes import evaluating
from autolora_meta.foundation.randomness import RandomState, drawing_apart, replay

Loss = Callable[[Any, Any], Tensor]
Weighing = Literal["rows", "labels", "shifted labels"]  # what a loss is the mean of
_IGNORED = -100
_OTHER_ROWS = (
    "the processes read different rows: they see different files, or a generator of its own gives "
    "the order. Give all of them the same data"
)


def shared(loss: Loss) -> Loss:
    """Return a loss whose sum over the processes is `loss`; in one process `loss` itself.

    Args:
        loss: (model, batch) -> scalar: a mean over rows, or over the labels that it counts.
    """
    count = processes.count()
    return loss if count == 1 else SharedLoss(loss, processes.rank(), count)


def whole(loss: Loss) -> Loss:
    """Return the loss of all rows of a batch, of one that is shared out."""
    return loss.whole if isinstance(loss, SharedLoss) else loss


class SharedLoss:
    """The share of one process in the loss of a batch.

    Args:
        loss: as of `shared`.
        rank: number of this process.
        count: how many there are.

    Attributes:
        whole: the loss itself.
    """

    def __init__(self, loss: Loss, rank: int, count: int) -> None:
        self.whole, self._rank, self._count = loss, rank, count
        self._weighing: Weighing | None = None
        self._tried = False

    def __call__(self, model: nn.Module, batch: Mapping[str, Tensor]) -> Tensor:
        """Return the share of this process in the loss of a batch; its draws are its own.

        Raises:
            InputError: the batch cannot be cut, or the loss is no mean over rows or labels.
        """
        size = _rows(batch)
        weighing = self._weighing or self._found(model, batch, size)
        first, last = (size * one // self._count for one in (self._rank, self._rank + 1))
        with drawing_apart(self._rank):
            return _share(self.whole, model, batch, first, last, weighing)

    def _found(self, model: nn.Module, batch: Mapping[str, Tensor], size: int) -> Weighing:
        """Try, on two rows, what the loss is a mean of; told apart once their labels differ."""
        counts = _counted(batch, "labels").flatten(1).sum(1) if _many(batch) else None
        short, long = 0, size - 1
        alike = True
        if counts is not None:
            filled = torch.where(counts > 0, counts, counts.max() + 1)
            short, long = int(filled.argmin()), int(counts.argmax())
            alike = bool(counts[short] == counts[long])
        if size == 1 or (alike and self._tried):
            return "rows"
        if not self._tried:
            processes.refuse_unlike(content_hash(batch), _OTHER_ROWS)
        few = torch.tensor([short, long if short != long else (short + 1) % size])
        two = {name: part[few.to(part.device)] for name, part in batch.items()}
        kinds: list[Weighing] = ["shifted labels", "labels", "rows"]
        fits: list[Weighing] = [
            kind
            for kind in kinds[0 if counts is not None else 2 :]
            if _adds_up(self.whole, model, two, kind)
        ]
        if not fits:
            raise InputError(
                f"this loss cannot be shared out among {self._count} processes: the losses of two "
                "rows do not make that of both, as a mean over rows or labels does. Run it in one "
                "process"
            )
        self._tried = True
        if counts is None or not alike:
            self._weighing = fits[0]
        return fits[0]


def _share(
    loss: Loss,
    model: nn.Module,
    batch: Mapping[str, Tensor],
    first: int,
    last: int,
    weighing: Weighing,
) -> Tensor:
    """Return the mean loss of some rows times what they are of the batch."""
    size = _rows(batch)
    rows = slice(first, last) if first < last else slice(0, 1)  # no row, with the weight 0
    part = {name: tensor[rows] for name, tensor in batch.items()}
    if weighing == "rows":
        return loss(model, part) * ((last - first) / size)
    own = _counted(part, weighing).sum() * int(first < last)
    # Rows without a label have no mean; their weight is 0, and with any label it stays a number.
    part["labels"] = torch.where(own > 0, part["labels"], torch.zeros_like(part["labels"]))
    found = loss(model, part)
    return found * (own.to(found.dtype) / _counted(batch, weighing).sum().to(found.dtype))


@torch.no_grad()
def _adds_up(loss: Loss, model: nn.Module, two: Mapping[str, Tensor], weighing: Weighing) -> bool:
    """Return whether the shares of two rows sum to the loss of both."""
    with replay(RandomState.snapshot()), evaluating(model):
        both = loss(model, two)
        each = [_share(loss, model, two, row, row + 1, weighing) for row in (0, 1)]
    near = torch.finfo(both.dtype).eps ** 0.5
    return torch.allclose(sum(each, torch.zeros_like(both)), both, rtol=near, atol=near)


def _many(batch: Mapping[str, Tensor]) -> bool:
    """Whether each row has several labels, of which some may be ignored."""
    labels = batch.get("labels")
    return isinstance(labels, Tensor) and labels.ndim > 1 and not labels.is_floating_point()


def _counted(batch: Mapping[str, Tensor], weighing: Weighing) -> Tensor:
    """Return which labels the loss counts. (B, T)"""
    labels = batch["labels"]
    return (labels[:, 1:] if weighing == "shifted labels" else labels) != _IGNORED


def _rows(batch: Any) -> int:
    """Return the number of rows of a batch.

    Raises:
        InputError: its tensors do not have one row for each.
    """
    tensors = [*batch.values()] if isinstance(batch, Mapping) else []
    sizes = {len(part) if isinstance(part, Tensor) and part.ndim else 0 for part in tensors}
    if len(sizes) != 1 or 0 in sizes:
        raise InputError(
            "a batch of this task cannot be cut into the rows of each process: its tensors do not "
            f"all have one entry a row (given lengths {sorted(sizes)}). Run it in one process"
        )
    return sizes.pop()
