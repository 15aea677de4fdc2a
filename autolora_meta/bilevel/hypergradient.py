"""The hypergradient of one outer step: df/da = f_a - J x."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from autolora_meta.bilevel.diagnostics import Examination, examine
from autolora_meta.bilevel.guards import stop_unless_finite
from autolora_meta.bilevel.implicit_part import implicit_part
from autolora_meta.bilevel.inner import Inner
from autolora_meta.bilevel.passes import Passes
from autolora_meta.foundation.cost import Cost
from autolora_meta.foundation.processes import summed
from autolora_meta.hypergradients.solvers import SolverRecord
from autolora_meta.hypergradients.vectors import add_scaled, gradients, inner_products, scale


@dataclass(frozen=True)
class HypergradientRecord:
    """What one hypergradient was made of: df/da = direct + implicit.

    `implicit_norm` is that of the implicit part before a balanced weight. Where several searches
    share a pass, what is examined is all of them together.
    """

    direct_norm: float
    implicit_norm: float
    cosine: float | None
    solver: SolverRecord | None
    examined: Examination | None

    def figures(self) -> dict[str, Any]:
        """Return what a row of metrics.jsonl says of it."""
        row: dict[str, Any] = {
            "direct_norm": self.direct_norm,
            "implicit_norm": self.implicit_norm,
            "cosine": self.cosine,
        }
        if self.solver is not None:
            row |= {
                "iterations": self.solver.iterations,
                "residual": self.solver.residual,
                "smallest_curvature": self.solver.smallest_curvature,
                "stopped": self.solver.stopped,
            }
        if self.examined is not None:
            row |= {
                "replay_error": self.examined.replay_error,
                "mask_agreement": self.examined.mask_agreement,
                "difference_cosine": self.examined.difference_cosine,
                "paid_residual": self.examined.residual,
            }
        return row


def hypergradient(
    loss: Passes, hyper: Sequence[Tensor], inner: Inner
) -> tuple[list[Tensor], list[HypergradientRecord], Cost]:
    """Return df/da, in the shapes of a, what it was made of in each search, and what it cost.

    One backward through the outer loss gives both f_a and v = f_w.

    Args:
        loss: f at the weights after the inner steps; of each search, where several share a pass.
        hyper: a.
        inner: the inner problem, after its steps; says by which method.

    Raises:
        NotFinite: a loss or a part of the hypergradient is not finite.
    """
    found = gradients(loss, [*hyper, *inner.parameters()])
    direct, v = found[: len(hyper)], found[len(hyper) :]  # f_a, f_w
    part = implicit_part(inner, hyper, v)
    implicit = part.vector  # -J x
    examined = examine(inner, hyper, v, part) if inner.examination_is_due else None
    pairs = [(v, v), (direct, direct), (implicit, implicit), (direct, implicit)]
    products = inner_products(pairs, inner.members)
    names = "f_w", "the direct part f_a", "the implicit part J x"
    sizes = [{n: p**0.5 for n, p in zip(names, own[:3], strict=True)} for own in products]
    losses = summed([loss.value.detach()])[0].reshape(-1).tolist()
    stop_unless_finite(inner, losses, sizes, part.solver)
    lengths = [(own[names[1]], own[names[2]]) for own in sizes]
    records = [
        HypergradientRecord(*both, _cosine(together, *both), part.solver, examined)
        for both, (*_, together) in zip(lengths, products, strict=True)
    ]
    if inner.hypergradient is not None and inner.hypergradient.weight == "balanced":
        # J x <- J x norm(f_a) / norm(J x)
        factors = [f_a / (j_x or 1.0) for f_a, j_x in lengths]
        implicit = scale(loss.value.new_tensor(factors) if inner.members else factors[0], implicit)
    # df/da = f_a - J x
    return add_scaled(direct, 1.0, implicit), records, part.cost


def _cosine(product: float, *lengths: float) -> float | None:
    """Return the cosine of an angle; None where one of the two is zero."""
    return product / (lengths[0] * lengths[1]) if lengths[0] * lengths[1] else None
