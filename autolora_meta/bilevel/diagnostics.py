"""Checks of a hypergradient that cost passes of their own, taken every so many outer steps."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from autolora_meta.bilevel.base import quantisation
from autolora_meta.bilevel.implicit_part import ImplicitPart
from autolora_meta.bilevel.inner import Inner
from autolora_meta.foundation.cost import Cost
from autolora_meta.foundation.randomness import RandomState, derive, replay
from autolora_meta.hypergradients.finite_difference import FiniteDifferenceProducts
from autolora_meta.hypergradients.implicit_gradient import implicit_gradient, make_products
from autolora_meta.hypergradients.nystrom import NystromOptions
from autolora_meta.hypergradients.products import AutogradProducts
from autolora_meta.hypergradients.updates import inner_update
from autolora_meta.hypergradients.vectors import Vector, add_scaled, dot, gradients, norm


@dataclass(frozen=True)
class Examination:
    """What the paid checks of one hypergradient found.

    Args:
        replay_error: relative difference of two gradients of the same batch with the same masks;
            zero in exact replay, and finite differences are noise where it is not small.
        mask_agreement: cosine of the implicit part with the one under other dropout masks: how
            much of it is the batch rather than the masks. None for `unrolled`.
        difference_cosine: on a base stored below float32, cosine of the finite difference with the
            exact product (with one of twice the step on quantised bases).
        residual: norm((H + rho I) x - v) / norm(v) for `nystrom`, whose own record cannot tell;
            None for other methods.
        cost: passes spent.
    """

    replay_error: float
    mask_agreement: float | None
    difference_cosine: float | None
    residual: float | None
    cost: Cost


def examine(inner: Inner, hyper: Sequence[Tensor], v: Vector, part: ImplicitPart) -> Examination:
    """Check the hypergradient that was just taken; weights, masks and buffers are as before.

    Args:
        inner: the inner problem, after its step.
        hyper: a.
        v: f_w, as the method was given it.
        part: the implicit part that the method found.
    """
    method = inner.hypergradient
    assert method is not None
    before = method.record.evaluated_at == "before"
    with inner.at(inner.loop.before if before else None):
        replayed, cost = _replay_error(inner, hyper)
        agreement = difference = residual = None
        if method.record.solver not in (None, "zero"):
            other, spent = _under_other_masks(inner, hyper, v)
            agreement, cost = cosine(part.vector, other), cost + spent
        if method.difference is not None and inner.precision is not None:
            difference, spent = _difference_cosine(inner, hyper, v)
            cost += spent
        if isinstance(method.solver, NystromOptions) and part.x is not None:
            residual, spent = _residual(inner, hyper, v, part.x, method.solver.rho)
            cost += spent
    return Examination(replayed, agreement, difference, residual, cost)


def _replay_error(inner: Inner, hyper: Sequence[Tensor]) -> tuple[float, Cost]:
    wanted = [*inner.parameters(), *hyper]
    first, second = (gradients(inner.replayed_loss(), wanted) for _ in range(2))
    return norm(add_scaled(first, -1.0, second)) / (norm(first) or 1.0), Cost(2, 2)


def _under_other_masks(
    inner: Inner, hyper: Sequence[Tensor], v: Vector
) -> tuple[list[Tensor], Cost]:
    """The implicit part by the same method, batch and v, with other dropout masks."""
    method = inner.hypergradient
    assert method is not None
    step = inner.loop.tape[-1]
    with replay(RandomState.snapshot()):
        torch.manual_seed(derive(inner.count, "second masks"))
        other = step._replace(random_state=RandomState.snapshot())

    products = make_products(
        method,
        lambda: inner.replayed_loss(other),
        inner.parameters(),
        hyper,
        precision=inner.precision,
        members=inner.members,
    )
    update = inner_update(inner.optimizer, inner.parameters(), inner.loop.gradient)
    found, _ = implicit_gradient(method, products=products, v=v, inner=update)
    return [-part for part in found], products.cost


def _difference_cosine(
    inner: Inner, hyper: Sequence[Tensor], v: Vector
) -> tuple[float | None, Cost]:
    """Cosine of J v as the method differences it with J v by the best other way there is."""
    method = inner.hypergradient
    assert method is not None
    params = inner.parameters()
    # One attention kernel for both sides: another draws other dropout masks.
    with sdpa_kernel(SDPBackend.MATH):
        own = {"precision": inner.precision, "members": inner.members}
        taken = make_products(method, inner.replayed_loss, params, hyper, **own)
        assert isinstance(taken, FiniteDifferenceProducts)
        found = taken.mixed(v)
        if quantisation(inner.module):
            other: AutogradProducts | FiniteDifferenceProducts = FiniteDifferenceProducts(
                inner.replayed_loss, params, hyper, radius=2 * taken.radius, members=inner.members
            )
        else:
            other = AutogradProducts(inner.replayed_loss, params, hyper)
        return cosine(found, other.mixed(v)), taken.cost + other.cost


def _residual(
    inner: Inner, hyper: Sequence[Tensor], v: Vector, x: Vector, damping: float
) -> tuple[float, Cost]:
    """How far x is from solving the damped system with the whole H, at one more product."""
    method = inner.hypergradient
    assert method is not None
    products = make_products(method, inner.replayed_loss, inner.parameters(), hyper)
    # r = (H + rho I) x - v
    left = add_scaled(add_scaled(products.hessian(x), damping, x), -1.0, v)
    return norm(left) / (norm(v) or 1.0), products.cost


def cosine(x: Vector, y: Vector) -> float | None:
    """Of the angle between x and y; None where one of them is zero."""
    lengths = norm(x) * norm(y)
    return dot(x, y) / lengths if lengths else None
