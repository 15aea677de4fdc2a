"""The hypergradient of one outer step: df/da = f_a - J x."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from autolora_meta.bilevel.diagnostics import Examination, cosine, examine
from autolora_meta.bilevel.guards import stop_unless_finite
from autolora_meta.bilevel.implicit_part import implicit_part
from autolora_meta.bilevel.inner import Inner
from autolora_meta.foundation.cost import Cost
from autolora_meta.hypergradients.solvers import SolverRecord
from autolora_meta.hypergradients.vectors import add_scaled, gradients, norm, scale


@dataclass(frozen=True)
class HypergradientRecord:
    """What one hypergradient was made of: df/da = direct + implicit.

    `implicit_norm` is that of the implicit part before a balanced weight, `cost` that of finding
    it.
    """

    direct_norm: float
    implicit_norm: float
    cosine: float | None
    solver: SolverRecord | None
    examined: Examination | None
    cost: Cost

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
    loss: Tensor, hyper: Sequence[Tensor], inner: Inner
) -> tuple[list[Tensor], HypergradientRecord]:
    """Return df/da, in the shapes of a, and what it was made of.

    One backward through the outer loss gives both f_a and v = f_w.

    Args:
        loss: f at the weights after the inner steps.
        hyper: a.
        inner: the inner problem, after its steps; says by which method.

    Raises:
        InputError: a loss or a part of the hypergradient is not finite.
    """
    found = gradients(loss, [*hyper, *inner.parameters()])
    direct, v = found[: len(hyper)], found[len(hyper) :]  # f_a, f_w
    part = implicit_part(inner, hyper, v)
    implicit = part.vector  # -J x
    examined = examine(inner, hyper, v, part) if inner.examination_is_due else None
    parts = {"f_w": v, "the direct part f_a": direct, "the implicit part J x": implicit}
    stop_unless_finite(inner, float(loss.detach()), parts, part.solver)
    lengths = norm(direct), norm(implicit)
    record = HypergradientRecord(
        *lengths, cosine(direct, implicit), part.solver, examined, part.cost
    )
    if inner.hypergradient is not None and inner.hypergradient.weight == "balanced":
        # J x <- J x norm(f_a) / norm(J x)
        implicit = scale(lengths[0] / (lengths[1] or 1.0), implicit)
    # df/da = f_a - J x
    return add_scaled(direct, 1.0, implicit), record
