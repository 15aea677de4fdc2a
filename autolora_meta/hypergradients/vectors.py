"""Lists of tensors as vectors. Only `assign` works in place."""

from collections.abc import Iterable, Sequence
from typing import TypeAlias

import torch
from torch import Tensor

Vector: TypeAlias = Sequence[Tensor]


def _wide(tensor: Tensor) -> Tensor:
    """Return `tensor` in float32 or better, so that long sums keep their digits."""
    return tensor.float() if torch.finfo(tensor.dtype).bits < 32 else tensor


def dot(x: Vector, y: Vector) -> float:
    """x^T y, summed over all tensors."""
    if not x:
        return 0.0
    parts = [(_wide(a) * _wide(b)).sum() for a, b in zip(x, y, strict=True)]
    # One transfer to the host however many tensors there are.
    return torch.stack([part.to(parts[0].device) for part in parts]).sum().item()


def norm(x: Vector) -> float:
    """Return the Euclidean norm of x."""
    return dot(x, x) ** 0.5


def scale(factor: float, x: Vector) -> list[Tensor]:
    """factor * x."""
    return [factor * a for a in x]


def add_scaled(x: Vector, factor: float, y: Vector) -> list[Tensor]:
    """x + factor * y."""
    return [torch.add(a, b, alpha=factor) for a, b in zip(x, y, strict=True)]


def zeros_like(x: Vector) -> list[Tensor]:
    """Return zeros in the shapes, dtypes and devices of x."""
    return [torch.zeros_like(a, requires_grad=False) for a in x]


def filled(gradients: Sequence[Tensor | None], like: Vector) -> list[Tensor]:
    """Return `gradients` detached, with zeros in place of None: no path means no dependence."""
    pairs = zip(gradients, like, strict=True)
    return [torch.zeros_like(a) if g is None else g.detach() for g, a in pairs]


def gradients(loss: Tensor, wanted: Vector) -> list[Tensor]:
    """Return d loss / d wanted; zeros where the loss does not depend on a tensor."""
    return filled(torch.autograd.grad(loss, list(wanted), allow_unused=True), wanted)


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
