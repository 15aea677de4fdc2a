"""Models whose rows see each other, so that adapters in one pass would not be trained alone."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from autolora_meta.errors import Apart
from autolora_meta.finetuning.stacked import Loss, Stack
from autolora_meta.foundation.memory import lacked
from autolora_meta.foundation.randomness import RandomState, replay

_Batch = Mapping[str, Tensor]
_ALONE = "train the adapters one at a time"
# By how much a loss may move, as a share of it: in float64, and in the model's own precision.
_NEAR, _NEAR_IN_OWN = 1e-8, 1e-3


def refuse_mixed_rows(stack: Stack, loss: Loss, batch: _Batch, other: _Batch) -> None:
    """Refuse a model in which the loss of an adapter depends on others' rows or numbers.

    Losses are taken again, with the same random numbers, when every second adapter has other rows
    and other numbers. Those of the adapters between must not move. They do after batch norm over
    the batch, experts of limited capacity, and layers that are called with anything but the rows of
    the batch, in order. It is done in float64 where the model has kernels for that.

    Args:
        stack: its model is in the mode in which it is trained.
        loss: takes a model and a batch.
        batch: rows of all adapters, in order. (R B, ...)
        other: other rows, of the same shapes.

    Raises:
        Apart: a loss moves, or cannot be taken.
    """
    try:
        with _in_float64(stack.model):
            moved = _moved(stack, loss, _double(batch), _double(other), _NEAR)
        tried = True
    except RuntimeError as error:
        if lacked(error):
            raise
        moved, tried = None, False
    if not tried:
        try:
            moved = _moved(stack, loss, batch, other, _NEAR_IN_OWN)
        except RuntimeError as error:
            if lacked(error):
                raise
            raise Apart(
                f"{len(stack.part)} adapters in one pass fail: {error}; {_ALONE}"
            ) from error
    if moved is not None:
        raise Apart(
            f"rows of a batch see each other in {type(stack.model.get_base_model()).__name__} "
            f"(other rows move a loss from {moved[0]:.6g} to {moved[1]:.6g}); {_ALONE}"
        )


@torch.no_grad()
def _moved(
    stack: Stack, loss: Loss, batch: _Batch, other: _Batch, near: float
) -> tuple[float, float] | None:
    """Return the loss of an adapter before and after others changed, if one moves."""
    state = RandomState.snapshot()
    with replay(state):
        alone = stack.losses(loss, batch)
    for kept in (slice(0, None, 2), slice(1, None, 2)):
        rows = {name: _others(kept, len(alone), batch[name], other[name]) for name in batch}
        with _other_numbers(stack, kept), replay(state):
            after = stack.losses(loss, rows)
        still = torch.isclose(after, alone, rtol=near, atol=near, equal_nan=True)
        for r in range(len(alone))[kept]:
            if not still[r]:
                return float(alone[r]), float(after[r])
    return None


def _others(kept: slice, count: int, rows: Tensor, other: Tensor) -> Tensor:
    """Return `other`, with the rows of the adapters `kept` as they are. (R B, ...)"""
    mixed = other.clone()
    mixed.unflatten(0, (count, -1))[kept] = rows.unflatten(0, (count, -1))[kept]
    return mixed


@contextmanager
def _other_numbers(stack: Stack, kept: slice) -> Iterator[None]:
    """Run the body with other numbers in all adapters but those of `kept`."""
    held = [p.data for p in stack.parameters]
    generator = torch.Generator().manual_seed(0)
    try:
        for p in stack.parameters:
            noise = 0.1 * torch.randn(p.shape, generator=generator)
            noise[list(stack.part[kept])] = 0
            p.data = p.data + noise.to(p)
        yield
    finally:
        for p, data in zip(stack.parameters, held, strict=True):
            p.data = data


def _double(batch: _Batch) -> _Batch:
    return {name: t.double() if t.is_floating_point() else t for name, t in batch.items()}


@contextmanager
def _in_float64(model: nn.Module) -> Iterator[None]:
    """Run the body with all numbers of the model in float64, and give back what was there."""
    held = [(tensor, tensor.data) for tensor in (*model.parameters(), *model.buffers())]
    try:
        for tensor, data in held:
            tensor.data = data.double() if data.is_floating_point() else data.clone()
        yield
    finally:
        for tensor, data in held:
            tensor.data = data
