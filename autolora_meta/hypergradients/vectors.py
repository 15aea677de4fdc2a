"""Lists of tensors as vectors. Only `assign` and `move` work in place.

Vectors of R members, which take part in one pass, are lists of tensors with a leading axis of R. A
number for each of them, such as a norm, is then a tensor (R,), which stays on its device.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import TypeAlias

import torch
from torch import Tensor

from autolora_meta.foundation.processes import summed

Vector: TypeAlias = Sequence[Tensor]
Number: TypeAlias = float | Tensor  # of all of a vector, or one for each member (R,)
Loss: TypeAlias = Tensor | Iterable[Tensor]  # or parts whose sum it is


def _wide(tensor: Tensor) -> Tensor:
    """Return `tensor` in float32 or better, so that long sums keep their digits."""
    return tensor.float() if torch.finfo(tensor.dtype).bits < 32 else tensor


def dot(x: Vector, y: Vector) -> float:
    """x^T y, summed over all tensors."""
    return _dot(x, y).item()


def _dot(x: Vector, y: Vector) -> Tensor:
    """x^T y, where x is: it goes to the host once, however many tensors there are."""
    if not x:
        return torch.zeros(())
    parts = [(_wide(a) * _wide(b)).sum() for a, b in zip(x, y, strict=True)]
    return torch.stack([part.to(parts[0].device) for part in parts]).sum()


def norm(x: Vector) -> float:
    """Return the Euclidean norm of x."""
    return dot(x, x) ** 0.5


@torch.no_grad()
def dots(x: Vector, y: Vector) -> Tensor:
    """x^T y of each member. (R,)"""
    parts = [(_wide(a) * _wide(b)).flatten(1).sum(1) for a, b in zip(x, y, strict=True)]
    return torch.stack(parts).sum(0)


def norm_of(x: Vector, members: int | None) -> Number:
    """Return the Euclidean norm of x, or that of each of so many members."""
    return norm(x) if members is None else dots(x, x).sqrt()


def inner_products(
    pairs: Sequence[tuple[Vector, Vector]], members: int | None
) -> list[list[float]]:
    """Return x^T y of each pair, for each member: one transfer to the host for all of them."""
    if members is None:
        return [torch.stack([_dot(x, y) for x, y in pairs]).tolist()]
    return torch.stack([dots(x, y) for x, y in pairs], dim=1).tolist()  # (R, pairs)


def scale(factor: Number, x: Vector) -> list[Tensor]:
    """factor * x."""
    return [_along(factor, a) * a for a in x]


def add_scaled(x: Vector, factor: Number, y: Vector) -> list[Tensor]:
    """x + factor * y."""
    if isinstance(factor, Tensor):
        return [a + _along(factor, b) * b for a, b in zip(x, y, strict=True)]
    return [torch.add(a, b, alpha=factor) for a, b in zip(x, y, strict=True)]


def _along(factor: Number, like: Tensor) -> Number:
    """Return the factor of each member in the shape that meets its part of `like`."""
    return factor.view(-1, *[1] * (like.ndim - 1)) if isinstance(factor, Tensor) else factor


def zeros_like(x: Vector) -> list[Tensor]:
    """Return zeros in the shapes, dtypes and devices of x."""
    return [torch.zeros_like(a, requires_grad=False) for a in x]


def filled(gradients: Sequence[Tensor | None], like: Vector) -> list[Tensor]:
    """Return `gradients` detached, with zeros in place of None: no path means no dependence."""
    pairs = zip(gradients, like, strict=True)
    return [torch.zeros_like(a) if g is None else g.detach() for g, a in pairs]


def parts_of(loss: Loss) -> Iterator[Tensor]:
    """Yield the parts of a loss, each to be differentiated before the next is made."""
    if isinstance(loss, Tensor):
        yield loss
    else:
        yield from loss


def gradients(loss: Loss, wanted: Vector) -> list[Tensor]:
    """Return d loss / d wanted; zeros where the loss does not depend on a tensor.

    Of processes that share a batch out, the loss is the sum of their losses.
    """
    total: list[Tensor] | None = None
    for part in parts_of(loss):
        found = filled(torch.autograd.grad(part, list(wanted), allow_unused=True), wanted)
        total = found if total is None else add_scaled(total, 1.0, found)
    return summed(zeros_like(wanted) if total is None else total)


def flatten(x: Vector) -> Tensor:
    """Return all entries of x in one tensor. (p,)"""
    return torch.cat([a.reshape(-1) for a in x])


def unflatten(flat: Tensor, like: Vector) -> list[Tensor]:
    """Cut `flat` (p,) into the shapes of `like`: the inverse of `flatten`."""
    pieces = flat.split([a.numel() for a in like])
    return [piece.view(a.shape) for piece, a in zip(pieces, like, strict=True)]


@torch.no_grad()
def assign(targets: Iterable[Tensor], values: Vector) -> None:
    """Write the values into the targets (parameters, buffers), in place."""
    for target, value in zip(targets, values, strict=True):
        target.copy_(value)


@torch.no_grad()
def move(targets: Iterable[Tensor], factor: Number, y: Vector) -> None:
    """Add factor * y to the targets, in place; a graph that holds them does not know of it."""
    for target, direction in zip(targets, y, strict=True):
        if isinstance(factor, Tensor):
            target.data.add_(_along(factor, direction) * direction)
        else:
            target.data.add_(direction, alpha=factor)
