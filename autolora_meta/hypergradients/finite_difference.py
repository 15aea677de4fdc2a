"""The products H p and J x as differences of gradients, and the step that they take."""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from autolora_meta.errors import InputError
from autolora_meta.foundation.cost import Cost
from autolora_meta.foundation.options import Options
from autolora_meta.hypergradients.products import Replay
from autolora_meta.hypergradients.vectors import (
    Number,
    Vector,
    add_scaled,
    gradients,
    move,
    norm_of,
    scale,
    zeros_like,
)

Scheme = Literal["central", "forward"]


class FiniteDifferenceOptions(Options):
    """How a product is taken as a difference of gradients."""

    scheme: Scheme = Field(
        default="central",
        description="Kind of difference. central: two passes a product, error O(step^2). forward: "
        "one pass a product and one at the centre, shared or already known, error O(step).",
    )
    radius: float | None = Field(
        default=None,
        gt=0,
        description="Length of the step in the space of the inner weights; null: chosen from the "
        "precision of the passes, the norm of the weights and the scheme.",
    )


def default_radius(
    scheme: Scheme, precision: torch.dtype, params: Vector, members: int | None = None
) -> Number:
    """Return the step length that balances truncation against rounding.

    Rounding error falls as u / R, with u the unit roundoff of the passes; truncation grows as R^2
    for the central and as R for the forward difference. They balance at u^(1/3) and u^(1/2), in
    units of the length over which gradients change: here the norm of the weights per tensor.

    Args:
        scheme: "central" or "forward".
        precision: dtype in which the passes are computed.
        params: w, at the point of the difference.
        members: that w holds, on a leading axis; None: it has none.

    Returns:
        R, an absolute length in weight space, or that of each member.

    Example:
        >>> w = [torch.ones(4)]
        >>> default_radius("central", torch.float32, w) < default_radius("central", torch.half, w)
        True
    """
    roundoff = torch.finfo(precision).eps
    length = 1.0 + norm_of(params, members) / max(len(params), 1) ** 0.5
    # R = u^(1/3) L (central), u^(1/2) L (forward)
    return roundoff ** (1 / 3 if scheme == "central" else 1 / 2) * length


class FiniteDifferenceProducts:
    """Products from gradients alone, for models without a double backward.

    The inner weights move along the direction by `radius` and come back bit for bit, also when a
    pass raises. `loss` must be the same function at each call: same batch, same dropout masks.

    Args:
        loss: g at the current values of `params` and `hyper`; a scalar, or its parts.
        params: w, leaf tensors, moved in place during a product and then put back.
        hyper: a, leaf tensors, never moved.
        scheme: "central" or "forward".
        radius: absolute step length in weight space; None: `default_radius`.
        centre: (g_w, g_a) at the current values, if known from a pass in the same precision; else
            the forward scheme computes them once.
        precision: dtype of the passes, if it is below that of `params` (a base stored in bf16).
        members: that all tensors hold, on a leading axis, each with a step of its own; None: they
            have none. `loss` is then the sum of the members' losses.
    """

    def __init__(
        self,
        loss: Replay,
        params: Vector,
        hyper: Vector,
        *,
        scheme: Scheme = "central",
        radius: Number | None = None,
        centre: tuple[Vector, Vector] | None = None,
        precision: torch.dtype | None = None,
        members: int | None = None,
    ) -> None:
        self.params, self.hyper = list(params), list(hyper)
        self.cost = Cost()
        self.scheme: Scheme = scheme
        self._loss, self._members = loss, members
        self._centre = None if centre is None else [*centre[0], *centre[1]]
        dtypes = [p.dtype for p in self.params] + ([precision] if precision else [])
        coarsest = max(dtypes, key=lambda dtype: torch.finfo(dtype).eps)
        chosen = (
            default_radius(scheme, coarsest, self.params, members) if radius is None else radius
        )
        self.radius: Number = chosen

    def hessian(self, p: Vector) -> list[Tensor]:
        """H p. # (g_w(w + e p) - g_w(w - e p)) / (2 e)"""
        return self._difference(p, slice(None, len(self.params)))

    def mixed(self, x: Vector) -> list[Tensor]:
        """J x. # (g_a(w + e x) - g_a(w - e x)) / (2 e)"""
        return self._difference(x, slice(len(self.params), None))

    def _difference(self, p: Vector, part: slice) -> list[Tensor]:
        inputs = [*self.params, *self.hyper][part]
        length = norm_of(p, self._members)
        if isinstance(length, Tensor):
            length = torch.where(length > 0, length, 1.0)  # any step along 0 gives 0
        elif length == 0:
            return zeros_like(inputs)
        elif math.isinf(length):
            raise InputError(
                "a hypergradient multiplies by a vector whose length is infinite: the loss is too "
                "steep for a difference. Lower search.inner.learning_rate, or lora.scale"
            )
        step = self.radius / length
        if self.scheme == "forward":
            if self._centre is None:
                self._centre = self._gradients([*self.params, *self.hyper])
            low, width = self._centre[part], step
            with self._moved(step, p):
                high = self._gradients(inputs)
        else:
            width = 2 * step
            with self._moved(step, p):
                high = self._gradients(inputs)
            with self._moved(-step, p):
                low = self._gradients(inputs)
        return scale(1 / width, add_scaled(high, -1.0, low))

    def _gradients(self, inputs: Sequence[Tensor]) -> list[Tensor]:
        with torch.enable_grad():
            found = gradients(self._loss(), inputs)
        self.cost += Cost(forwards=1, backwards=1)
        return found

    @contextmanager
    def _moved(self, step: Number, p: Vector) -> Iterator[None]:
        """Run the body at w + step * p, then restore w bit for bit."""
        saved = [w.detach().clone() for w in self.params]
        try:
            move(self.params, step, p)  # the bits come back, so a graph of them stays valid
            yield
        finally:
            # Copied back, not subtracted: (w + d) - d is not w in floating point.
            for w, kept in zip(self.params, saved, strict=True):
                w.data.copy_(kept)
