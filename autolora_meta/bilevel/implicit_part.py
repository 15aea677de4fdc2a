"""The implicit part -J x of a hypergradient, and its entry in betty's table of methods."""

from collections.abc import Sequence
from dataclasses import dataclass

from betty.hypergradient import jvp_fn_mapping
from betty.problems import ImplicitProblem
from torch import Tensor

from autolora_meta.bilevel.inner import Inner
from autolora_meta.foundation.cost import Cost
from autolora_meta.hypergradients.implicit_gradient import implicit_term, make_products, solution
from autolora_meta.hypergradients.solvers import SolverRecord, ZeroOptions, zero
from autolora_meta.hypergradients.unrolled import unrolled_gradient
from autolora_meta.hypergradients.updates import inner_update
from autolora_meta.hypergradients.vectors import scale, zeros_like


@dataclass(frozen=True)
class ImplicitPart:
    """The implicit part of one hypergradient, and how it was found.

    Attributes:
        vector: -weight * J x, in the shapes of a; a balanced weight counts as 1.
        x: the solution of H x = v; None for `unrolled`, which solves no system.
        solver: what the solver did; None for `unrolled`.
        cost: passes spent.
    """

    vector: list[Tensor]
    x: list[Tensor] | None
    solver: SolverRecord | None
    cost: Cost


def implicit_part(inner: Inner, hyper: Sequence[Tensor], v: Sequence[Tensor]) -> ImplicitPart:
    """Return -weight * J x with H x = v, by the method that `inner` is configured with.

    Args:
        inner: the inner problem, after its steps.
        hyper: a.
        v: f_w.
    """
    method, params, loop = inner.hypergradient, inner.parameters(), inner.loop
    assert method is not None, f"the inner problem '{inner.name}' has no hypergradient method"
    if method.method == "unrolled":
        with inner.at(None):
            through, cost = unrolled_gradient(loop.recorded, params, hyper, v)
        return ImplicitPart(scale(-method.factor, through), None, None, cost)
    if method.record.solver == "zero":
        x, solver = zero(lambda p: [*p], v, ZeroOptions())
        return ImplicitPart(zeros_like(hyper), x, solver, Cost())
    # One-step methods differentiate the step just taken, at the weights before it; methods of the
    # inner optimum stay at the weights after it.
    before = method.record.evaluated_at == "before"
    with inner.at(loop.before if before else None):
        products = make_products(
            method,
            inner.replayed_loss,
            params,
            hyper,
            centre=loop.centre if before else None,
            precision=inner.precision,
            members=inner.members,
        )
        update = inner_update(inner.optimizer, params, loop.gradient)
        x, solver = solution(method, products=products, v=v, inner=update)
        vector = scale(-1.0, implicit_term(method, products, x))
    return ImplicitPart(vector, x, solver, products.cost)


def register() -> str:
    """Enter our methods in betty's table of best-response Jacobians; return their name there.

    betty looks it up for a problem of its own above one of ours, by `Config.type`. Registering
    again changes nothing.
    """
    jvp_fn_mapping["autolora_meta"] = _best_response
    return "autolora_meta"


def _best_response(
    vector: Sequence[Tensor], curr: Inner, prev: ImplicitProblem, sync: bool
) -> list[Tensor]:
    """Return the implicit part with the arguments and the sign of betty's own methods."""
    return implicit_part(curr, prev.trainable_parameters(), vector).vector
