"""What steps leave behind: enough to take them again, and to say what they were made of."""

from dataclasses import dataclass
from typing import Any, NamedTuple

from autolora_meta.bilevel.diagnostics import Examination
from autolora_meta.hypergradients.solvers import SolverRecord
from autolora_meta.randomness import RandomState


class InnerStep(NamedTuple):
    """What an inner step saw, so that it can be taken again and its loss be differentiated."""

    batch: Any
    random_state: RandomState


@dataclass(frozen=True)
class HypergradientRecord:
    """What one hypergradient was made of: df/da = direct + implicit."""

    direct_norm: float
    implicit_norm: float
    cosine: float | None
    solver: SolverRecord | None
    examined: Examination | None
