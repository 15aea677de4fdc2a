"""Warnings during a search: each is given once, and says what to change."""

import logging
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from autolora_meta.bilevel.gating import Constraint

LOG = logging.getLogger("autolora_meta")
# Same masks, same batch: float32 kernels repeat themselves to well below this.
REPLAY = 1e-6
STILL_AFTER, STILL = 10, 1e-6
COLLAPSED = 0.1
COARSE = 0.99
RECENT = 10  # outer steps
STOPPED_EARLY = ("negative curvature", "diverged")  # of `SolverRecord.stopped`


class Watch:
    """Reads the rows of a search and speaks up where they show that it goes wrong.

    Args:
        constraint: of the gates; only softmax gates can collapse.
        learning_rate: of the gates' logits.
    """

    def __init__(self, constraint: Constraint, learning_rate: float) -> None:
        self._constraint = constraint
        self._rate = learning_rate
        self._said: set[str] = set()
        self._stopped_early: deque[bool] = deque(maxlen=RECENT)

    def look(self, row: Mapping[str, Any], trajectory: Sequence[Tensor]) -> None:
        """Look at the row of an outer step.

        Args:
            row: its figures.
            trajectory: the gates at the start and after every outer step, each (L, k).
        """
        step = row["outer_step"]
        if (row.get("replay_error") or 0.0) > REPLAY:
            self._say(
                "replay",
                f"outer step {step}: the same batch and dropout masks gave gradients that differ "
                f"by {row['replay_error']:.1e} (at most {REPLAY:g} is sound). Something draws "
                "from a generator of its own (those of torch, NumPy's np.random and Python's "
                "random are replayed), or a kernel is not deterministic; finite differences are "
                "noise then. Take search.hypergradient=one_step, draw from one of those three, or "
                "make the model deterministic (torch.use_deterministic_algorithms(True))",
            )
        agreement = row.get("difference_cosine")
        if agreement is not None and agreement < COARSE:
            self._say(
                "coarse",
                f"outer step {step}: on this low-precision base the finite difference has cosine "
                f"{agreement:.3f} with a better product. Load the base in float32 "
                "(model.dtype=float32), or set search.hypergradient.radius larger",
            )
        if self._constraint == "softmax" and row["gate_entropy"] < COLLAPSED:
            self._say(
                "collapse",
                f"outer step {step}: the gates have collapsed (entropy {row['gate_entropy']:.2f} "
                "of 1): one component a layer takes all. Lower search.outer.learning_rate (now "
                f"{self._rate:g}) or search.outer_steps",
            )
        self._stopped_early.append(row.get("stopped") in STOPPED_EARLY)
        if (early := sum(self._stopped_early)) > RECENT / 2:
            self._say(
                "stopped early",
                f"outer step {step}: in {early} of the last {len(self._stopped_early)} outer steps "
                "the solver met negative curvature or diverged, and gave up early. Raise "
                "search.hypergradient.damping (rho of nystrom), or lower the step (of neumann)",
            )
        if step == STILL_AFTER:
            moved = float((trajectory[-1] - trajectory[0]).abs().max())
            if moved < STILL:
                self._say(
                    "still",
                    f"after {step} outer steps no gate has moved (largest change {moved:.1e}). "
                    f"Raise search.outer.learning_rate (now {self._rate:g}), or "
                    "search.warmup_steps so that the factors B leave zero first",
                )

    def state_dict(self) -> dict[str, Any]:
        """Return what has been said, and what the next row is judged by."""
        return {"said": sorted(self._said), "stopped_early": list(self._stopped_early)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state_dict` returned: nothing is said twice."""
        self._said = set(state["said"])
        self._stopped_early = deque(state["stopped_early"], maxlen=RECENT)

    def _say(self, what: str, message: str) -> None:
        if what not in self._said:
            self._said.add(what)
            LOG.warning(message)
