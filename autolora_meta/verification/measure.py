"""Accuracy rows: every method of a case, as the search uses it, against its reference."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from autolora_meta.foundation.cost import Cost
from autolora_meta.hypergradients.choice import HypergradientOptions, parse
from autolora_meta.hypergradients.implicit_gradient import implicit_gradient, make_products
from autolora_meta.hypergradients.unrolled import UnrolledOptions, record_step, unrolled_gradient
from autolora_meta.hypergradients.updates import inner_update
from autolora_meta.hypergradients.vectors import Vector, add_scaled, assign, dot, norm
from autolora_meta.verification.case import Case
from autolora_meta.verification.moments import AdamMoments
from autolora_meta.verification.reference import reference


@dataclass(frozen=True)
class AccuracyRow:
    """The error of one hypergradient against the formula of its method.

    Args:
        problem: ridge, quadratic, transformer or model.
        method: a method of the table, or `betty-` and the name of one of betty's.
        options: of the method, as in a configuration.
        difference: central or forward; None for methods without differences.
        dtype: float64, float32 or bf16 (training passes under autocast, the rest float32).
        dropout: of the model.
        condition: of the inner Hessian, if it was chosen.
        relative_error: norm(x - reference) / norm(reference) of the implicit part (of the direct
            part for first_order).
        cosine: of the angle between the two.
        gap: relative distance of the whole hypergradient from the undamped implicit gradient;
            None if that cannot be computed.
        cost: passes of the implicit part.
    """

    problem: str
    method: str
    options: dict[str, Any]
    difference: str | None
    dtype: str
    dropout: float
    condition: float | None
    relative_error: float
    cosine: float
    gap: float | None
    cost: Cost


def accuracy(case: Case) -> Iterator[AccuracyRow]:
    """Return a row for each method of the case."""
    moments = _moments(case)
    for named in case.methods:
        options = parse(named)
        direct, implicit, cost = _hypergradient(case, options, moments)
        found = direct if options.record.solver == "zero" else implicit
        yield row_of(
            case,
            options.method,
            {k: v for k, v in options.model_dump().items() if k not in ("method", "scheme")},
            options.difference.scheme if options.difference else None,
            found,
            reference(case, options, moments),
            add_scaled(direct, -1.0, implicit),
            cost,
        )


def row_of(
    case: Case,
    method: str,
    options: dict[str, Any],
    difference: str | None,
    found: Vector,
    true: Vector,
    whole: Vector,
    cost: Cost,
) -> AccuracyRow:
    """Return the row of `found` against `true`, both parts of the hypergradient `whole`."""
    gap = None if case.exact is None else relative_error(whole, case.exact)
    return AccuracyRow(
        case.problem,
        method,
        options,
        difference,
        case.dtype,
        case.dropout,
        case.condition,
        relative_error(found, true),
        cosine(found, true),
        gap,
        cost,
    )


def relative_error(found: Vector, true: Vector) -> float:
    """Return norm(found - true) / norm(true), or norm(found) if `true` is zero."""
    return norm(add_scaled(found, -1.0, true)) / (norm(true) or 1.0)


def cosine(found: Vector, true: Vector) -> float:
    """Return the cosine of the angle between them; 1 for two zeros."""
    lengths = norm(found) * norm(true)
    return dot(found, true) / lengths if lengths else float(norm(found) == norm(true))


def _moments(case: Case) -> AdamMoments:
    """Return the moments of a gradient beside the point: at an optimum they would be 0."""
    beside = [(1.1 * w + 0.01).detach().requires_grad_() for w in case.params]
    gradient = torch.autograd.grad(
        case.inner(beside), beside, allow_unused=True, materialize_grads=True
    )
    return AdamMoments.after(gradient)


def _hypergradient(
    case: Case, options: HypergradientOptions, moments: AdamMoments
) -> tuple[list[Tensor], list[Tensor], Cost]:
    """Return (f_a, the implicit part to subtract from it, its cost), by the library's own code."""
    params, hyper = case.params, case.hyper

    def loss() -> Tensor:
        return case.inner(params)

    if options.record.evaluated_at == "after":
        direct, v = case.training_pass(case.outer, "point")
        products = make_products(options, loss, params, hyper)
        implicit, _ = implicit_gradient(options, products=products, v=v)
        return direct, implicit, products.cost

    adam = options.record.solver != "identity"
    with _put_back(params):
        if adam:
            optimizer = moments.optimizer(params, case.learning_rate)
        else:
            optimizer = torch.optim.SGD(params, lr=case.learning_rate)
        recorded, centre = [], None
        steps = options.solver.steps if isinstance(options.solver, UnrolledOptions) else 1
        start = [w.detach().clone() for w in params]
        where: list[str] = ["point"]
        for _ in range(steps):
            recorded.append(record_step(optimizer, params, loss))
            centre = _inner_step(case, optimizer, tuple(where))
            where.append("adamw" if adam else "sgd")
        direct, v = case.training_pass(case.outer, tuple(where))
        update = inner_update(optimizer, params, centre[0] if centre and adam else None)
        assign(params, start)
        if isinstance(options.solver, UnrolledOptions):
            implicit, cost = unrolled_gradient(recorded, params, hyper, v)
            return direct, implicit, cost
        # A centre from a pass under autocast is of another function.
        known = None if case.dtype == "bf16" else centre
        products = make_products(options, loss, params, hyper, centre=known)
        implicit, _ = implicit_gradient(options, products=products, v=v, inner=update)
        return direct, implicit, products.cost


def _inner_step(
    case: Case, optimizer: torch.optim.Optimizer, where: tuple[str, ...]
) -> tuple[list[Tensor], list[Tensor]]:
    """Take one training step; return (g_w, g_a) at the weights before it."""
    g_a, g_w = case.training_pass(case.inner, where)
    for w, g in zip(case.params, g_w, strict=True):
        w.grad = g
    optimizer.step()
    for w in case.params:
        w.grad = None
    return g_w, g_a


@contextmanager
def _put_back(params: Vector) -> Iterator[None]:
    kept = [w.detach().clone() for w in params]
    try:
        yield
    finally:
        assign(params, kept)
