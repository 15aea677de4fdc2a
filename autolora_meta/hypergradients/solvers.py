"""Solvers of H x = v: pure functions of a matvec, v and their options, each with a record.

They share one signature, so that two of them can be read side by side:

    solve(matvec, v, options, inner) -> (x, SolverRecord)

`matvec` maps p to H p; `inner` says what is known of the inner optimizer's step, for the solvers
that stand for one such step. None of them changes v.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field
from torch import Tensor

from autolora_meta.errors import InputError
from autolora_meta.foundation.options import Options
from autolora_meta.hypergradients.vectors import (
    Vector,
    add_scaled,
    dot,
    norm,
    scale,
    zeros_like,
)

Matvec = Callable[[Vector], list[Tensor]]
# The Hessian of gated LoRA factors is indefinite: curvatures from about -1 to 6 were met on a small
# encoder, and a solver with less damping than that stops at its first iterations.
DAMPING = 10.0
Stopped = Literal["converged", "iterations", "negative curvature", "diverged", "exact"]


@dataclass(frozen=True)
class SolverRecord:
    """What a solver did.

    Args:
        iterations: products H p in the solution, those that estimate a step not counted.
        residual: norm(H x - v) / norm(v) at the solver's own damping; None if it would cost
            another product.
        smallest_curvature: the smallest p^T H p / p^T p met, without damping; None if none was.
        stopped: why it ended. "exact": a formula, without iteration.
        message: a warning for a person, or empty.
    """

    iterations: int
    residual: float | None
    smallest_curvature: float | None
    stopped: Stopped
    message: str = ""


@dataclass(frozen=True)
class InnerUpdate:
    """The inner optimizer's step w' = w - u(gradient), as far as one-step methods need it.

    Args:
        learning_rates: the learning rate of each tensor of w.
        jacobian: du/d(gradient), elementwise, in the shapes of w; None if it is not needed.
    """

    learning_rates: tuple[float, ...]
    jacobian: Vector | None = None


class ZeroOptions(Options):
    """Options of `zero`: none."""


class IdentityOptions(Options):
    """Options of `identity`."""

    scale: Literal["inner_lr"] | float = Field(
        default="inner_lr",
        description="Factor in x = scale * v: a number, or inner_lr, the learning rate of the "
        "inner step, which makes the method one look-ahead step of gradient descent.",
    )


class AdamOptions(Options):
    """Options of `adam`: none; the Jacobian comes from the inner optimizer."""


class NeumannOptions(Options):
    """Options of `neumann`."""

    iterations: int = Field(
        default=10,
        ge=1,
        description="K: products in the sum over i = 0..K; more are more exact.",
    )
    step: Literal["auto"] | Annotated[float, Field(gt=0)] = Field(
        default="auto",
        description="a0, below 2 / lambda_max(H). auto: 1 / lambda_max, estimated by "
        "power_iterations products.",
    )
    power_iterations: int = Field(
        default=5, ge=1, description="Products that estimate lambda_max if step is auto."
    )
    damping: float = Field(
        default=DAMPING,
        ge=0,
        description="Added to the diagonal of H. It must exceed the most negative curvature, or "
        "the sum grows and stops.",
    )


class ConjugateGradientOptions(Options):
    """Options of `conjugate_gradient`."""

    iterations: int = Field(default=10, ge=1, description="Most iterations, one product each.")
    tolerance: float = Field(
        default=1e-3, ge=0, description="Stop when norm(H x - v) / norm(v) is at most this."
    )
    damping: float = Field(
        default=DAMPING,
        ge=0,
        description="Added to the diagonal of H. It must exceed the most negative curvature, or "
        "the solver stops there.",
    )


def zero(
    matvec: Matvec, v: Vector, options: ZeroOptions, inner: InnerUpdate | None = None
) -> tuple[list[Tensor], SolverRecord]:
    """x = 0: only the direct dependence of f on a counts."""
    return zeros_like(v), SolverRecord(0, None, None, "exact")


def identity(
    matvec: Matvec, v: Vector, options: IdentityOptions, inner: InnerUpdate | None = None
) -> tuple[list[Tensor], SolverRecord]:
    """x = scale * v: one step of gradient descent (DARTS, arXiv 1806.09055)."""
    if options.scale != "inner_lr":
        x = scale(options.scale, v)
    elif inner is None:
        raise InputError(
            "scale: inner_lr needs the inner optimizer's learning rates and none were given; "
            "give them, or a number as scale"
        )
    else:
        # x_i = eta_i v_i, with eta_i the learning rate of tensor i
        x = [eta * part for eta, part in zip(inner.learning_rates, v, strict=True)]
    return x, SolverRecord(0, None, None, "exact")


def adam(
    matvec: Matvec, v: Vector, options: AdamOptions, inner: InnerUpdate | None = None
) -> tuple[list[Tensor], SolverRecord]:
    """x = (du/dg) v, with u the update of Adam: one step of Adam (SAMA, arXiv 2310.05674)."""
    if inner is None or inner.jacobian is None:
        raise InputError(
            "the adam solver needs the Jacobian of the inner optimizer's update and none was "
            "given; make it with inner_update(optimizer, params, gradients)"
        )
    # x = (du/dg) * v, elementwise
    x = [jacobian * part for jacobian, part in zip(inner.jacobian, v, strict=True)]
    return x, SolverRecord(0, None, None, "exact")


def spectral_norm(matvec: Matvec, v: Vector, iterations: int) -> float:
    """Estimate, from below, the largest |eigenvalue| of H that v can meet, by power iteration.

    It starts at v: powers of H applied to v stay in one subspace, and eigenvalues outside it cannot
    make a sum over them diverge.
    """
    p, largest = v, 0.0
    for _ in range(iterations):
        length = norm(p)
        if length == 0 or not math.isfinite(length):
            return length or largest
        product = matvec(p)
        # norm(H p) / norm(p) <= norm(H), growing with each p <- H p
        largest = max(largest, norm(product) / length)
        p = scale(1 / length, product)
    return largest


def neumann(
    matvec: Matvec, v: Vector, options: NeumannOptions, inner: InnerUpdate | None = None
) -> tuple[list[Tensor], SolverRecord]:
    """x = a0 sum_{i=0..K} (I - a0 H)^i v (Lorraine et al., arXiv 1911.02590, algorithm 3).

    Terms are residuals: v - H x_{i-1} = (I - a0 H)^i v. Their norms form a convex sequence in i, so
    the first that grows shows that all later ones grow: the sum stops and the best iterate returns.
    The residual in the record is that of the iterate before the last, which costs nothing.
    """
    size = norm(v)
    if size == 0:
        return zeros_like(v), SolverRecord(0, 0.0, None, "converged")

    def damped(p: Vector) -> list[Tensor]:
        return add_scaled(matvec(p), options.damping, p)

    if options.step == "auto":
        largest = spectral_norm(damped, v, options.power_iterations)
        if not 0 < largest < math.inf:
            message = f"H v has norm {largest}: no step for the Neumann sum, x = 0"
            return zeros_like(v), SolverRecord(0, 1.0, None, "diverged", message)
        step = 1 / largest
    else:
        step = options.step

    term, total, residual = list(v), list(v), 1.0
    curvature, largest = math.inf, 0.0
    for i in range(1, options.iterations + 1):
        product = damped(term)
        length = norm(term)
        if length == 0:
            return scale(step, total), SolverRecord(i - 1, 0.0, _met(curvature), "converged")
        curvature = min(curvature, dot(term, product) / length**2 - options.damping)
        largest = max(largest, norm(product) / length)
        # t_i = t_{i-1} - a0 H t_{i-1}
        following = add_scaled(term, -step, product)
        grown = norm(following) / size
        if not grown <= residual:
            best = add_scaled(total, -1.0, term)
            message = (
                f"the Neumann sum grows from term {i}; the step {step:.3g} must lie below "
                f"2 / lambda_max (<= {2 / largest:.3g}) and H + damping I be positive (smallest "
                f"curvature met {curvature:.3g}): lower the step or raise the damping"
            )
            return scale(step, best), SolverRecord(i, residual, curvature, "diverged", message)
        term, total, residual = following, add_scaled(total, 1.0, following), grown
    return scale(step, total), SolverRecord(options.iterations, residual, curvature, "iterations")


def conjugate_gradient(
    matvec: Matvec, v: Vector, options: ConjugateGradientOptions, inner: InnerUpdate | None = None
) -> tuple[list[Tensor], SolverRecord]:
    """(H + damping I) x = v by conjugate gradients (Hestenes and Stiefel, 1952), from x = 0.

    If p^T (H + damping I) p <= 0, the quadratic has no minimum along p, and the iterate before p is
    returned: the best so far.
    """
    size = norm(v)
    if size == 0:
        return zeros_like(v), SolverRecord(0, 0.0, None, "converged")
    x, r, p = zeros_like(v), list(v), list(v)
    rr = dot(r, r)
    curvature, residual = math.inf, 1.0
    for k in range(1, options.iterations + 1):
        product = add_scaled(matvec(p), options.damping, p)
        bend = dot(p, product)
        curvature = min(curvature, bend / dot(p, p) - options.damping)
        if not math.isfinite(bend):
            message = f"a product of iteration {k} is not finite; x is the iterate before it"
            return x, SolverRecord(k, residual, _met(curvature), "diverged", message)
        if bend <= 0:
            message = (
                f"curvature {curvature:.3g} at iteration {k}; x is the iterate before it"
                f"{' (zero)' if k == 1 else ''}. A damping above {-curvature:.3g} passes it"
            )
            return x, SolverRecord(k, residual, curvature, "negative curvature", message)
        alpha = rr / bend  # alpha_k = r_k^T r_k / p_k^T H p_k
        x = add_scaled(x, alpha, p)  # x_{k+1} = x_k + alpha_k p_k
        r = add_scaled(r, -alpha, product)  # r_{k+1} = r_k - alpha_k H p_k
        new = dot(r, r)
        residual = new**0.5 / size
        if residual <= options.tolerance:
            return x, SolverRecord(k, residual, curvature, "converged")
        p = add_scaled(r, new / rr, p)  # p_{k+1} = r_{k+1} + (r_{k+1}^T r_{k+1} / r_k^T r_k) p_k
        rr = new
    message = ""
    if residual > 1:
        message = f"residual {residual:.3g} after all iterations: raise the damping or iterations"
    return x, SolverRecord(options.iterations, residual, curvature, "iterations", message)


def _met(curvature: float) -> float | None:
    return curvature if math.isfinite(curvature) else None
