"""Lists of tensors as vectors. Nothing here works in place, but `assign`."""

from collections.abc import Iterable, Sequence
from typing import TypeAlias

import torch
from torch import Tensor

Vector: TypeAlias = Sequence[Tensor]


def _wide(tensor: Tensor) -> Tensor:
    """`tensor` in float32 or better, so that long sums keep their digits."""
    return tensor.float() if torch.finfo(tensor.dtype).bits < 32 else tensor


def dot(x: Vector, y: Vector) -> float:
    """x^T y, summed over all tensors."""
    if not x:
        return 0.0
    parts = [(_wide(a) * _wide(b)).sum() for a, b in zip(x, y, strict=True)]
    # One transfer to the host however many tensors there are.
    return torch.stack([part.to(parts[0].device) for part in parts]).sum().item()


def norm(x: Vector) -> float:
    """The Euclidean norm of x."""
    return dot(x, x) ** 0.5


def scale(factor: float, x: Vector) -> list[Tensor]:
    """factor * x."""
    return [factor * a for a in x]


def add_scaled(x: Vector, factor: float, y: Vector) -> list[Tensor]:
    """x + factor * y."""
    return [torch.add(a, b, alpha=factor) for a, b in zip(x, y, strict=True)]


def zeros_like(x: Vector) -> list[Tensor]:
    """The zero vector of x's shapes, dtypes and devices."""
    return [torch.zeros_like(a, requires_grad=False) for a in x]


def filled(gradients: Sequence[Tensor | None], like: Vector) -> list[Tensor]:
    """`gradients`, detached, with zeros where autograd gives None: no path means no dependence."""
    pairs = zip(gradients, like, strict=True)
    return [torch.zeros_like(a) if g is None else g.detach() for g, a in pairs]


def gradients(loss: Tensor, wanted: Vector) -> list[Tensor]:
    """Return d loss / d wanted; zeros where the loss does not depend on a tensor."""
    return filled(torch.autograd.grad(loss, list(wanted), allow_unused=True), wanted)


def flatten(x: Vector) -> Tensor:
    """All entries of x in one tensor. (p,)"""
    return torch.cat([a.reshape(-1) for a in x])


def unflatten(flat: Tensor, like: Vector) -> list[Tensor]:
    """The inverse of `flatten`: `flat` (p,) cut into the shapes of `like`."""
    pieces = flat.split([a.numel() for a in like])
    return [piece.view(a.shape) for piece, a in zip(pieces, like, strict=True)]


@torch.no_grad()
def assign(targets: Iterable[Tensor], values: Vector) -> None:
    """Write the values into the targets (parameters, buffers), in place."""
    for target, value in zip(targets, values, strict=True):
        target.copy_(value)
