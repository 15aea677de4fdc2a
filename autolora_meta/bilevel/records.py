"""What steps leave behind: enough to take them again, and to say what they were made of."""

from dataclasses import dataclass
from typing import Any, NamedTuple

from autolora_meta.bilevel.diagnostics import Examination
from autolora_meta.foundation.randomness import RandomState
from autolora_meta.hypergradients.solvers import SolverRecord


class InnerStep(NamedTuple):
    """What an inner step saw, so that it can be taken again and its loss be differentiated."""

    batch: Any
    random_state: RandomState


@dataclass(frozen=True)
class HypergradientRecord:
    """What one hypergradient was made of: df/da = direct + implicit.

    `implicit_norm` is that of the implicit term before a balanced weight.
    """

    direct_norm: float
    implicit_norm: float
    cosine: float | None
    solver: SolverRecord | None
    examined: Examination | None

    def figures(self) -> dict[str, Any]:
        """What a row of metrics.jsonl says of it."""
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
