"""The inner problem as hypergradients, guards and diagnostics see it."""

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from functools import partial
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor, nn

from autolora_meta.errors import NotFinite
from autolora_meta.foundation.randomness import RandomState
from autolora_meta.hypergradients.choice import HypergradientOptions
from autolora_meta.hypergradients.unrolled import RecordedStep, UnrolledOptions, record_step
from autolora_meta.hypergradients.vectors import Loss


class InnerStep(NamedTuple):
    """What an inner step saw, so that it can be taken again and its loss be differentiated."""

    batch: Any
    random_state: RandomState


class InnerLoop:
    """What the inner steps since the last outer step leave behind for its hypergradient.

    Args:
        method: by which the outer problem differentiates through them; None: by none.

    Attributes:
        tape: all of them, so that they can be taken again.
        recorded: the last of them, as many as `unrolled` goes back; none for other methods.
        before: the weights before the last one, where the method differentiates there.
        gradient: g_w of the last one, where the method differentiates through Adam.
        centre: (g_w, g_a) of the last one, where the method starts a forward difference there.
    """

    def __init__(self, method: HypergradientOptions | None) -> None:
        solver = method.solver if method else None
        self.tape: list[InnerStep] = []
        self.recorded: deque[RecordedStep] = deque(
            maxlen=solver.steps if isinstance(solver, UnrolledOptions) else 0
        )
        self.before: list[Tensor] = []
        self.gradient: list[Tensor] | None = None
        self.centre: tuple[list[Tensor], list[Tensor]] | None = None
        self._returns = method is not None and method.record.evaluated_at == "before"
        self._adam = method is not None and method.record.solver == "adam"
        self.needs_centre = (
            method is not None
            and method.difference is not None
            and method.difference.scheme == "forward"
            and method.record.evaluated_at == "before"
        )

    def begin(
        self,
        step: InnerStep,
        weights: Sequence[Tensor],
        optimizer: torch.optim.Optimizer,
        loss: Callable[[InnerStep], Loss],
    ) -> None:
        """Remember a step that `optimizer` is about to take from `weights`, and its loss."""
        self.tape.append(step)
        if self._returns:
            self.before = [w.detach().clone() for w in weights]
        if self.recorded.maxlen:
            self.recorded.append(record_step(optimizer, weights, partial(loss, step)))

    def keep(self, g_w: list[Tensor], g_a: list[Tensor]) -> None:
        """Keep of the gradients of a step what the method starts from; no g_a: it is not known."""
        self.gradient = g_w if self._adam else None
        self.centre = (g_w, g_a) if g_a else None


class Inner(Protocol):
    """An inner problem whose loss can be evaluated again, at these weights and at others."""

    loop: InnerLoop
    members: int | None  # searches in one pass, on a leading axis of all tensors; None: one alone

    @property
    def name(self) -> str: ...
    @property
    def losses(self) -> list[float]:
        """Return the losses of its last step, one for each search."""
        ...

    @property
    def count(self) -> int:
        """Return the number of inner steps so far."""
        ...

    @property
    def module(self) -> nn.Module: ...
    @property
    def optimizer(self) -> torch.optim.Optimizer: ...
    @property
    def hypergradient(self) -> HypergradientOptions | None: ...
    @property
    def precision(self) -> torch.dtype | None:
        """Return the dtype of the base, where it is below float32."""
        ...

    @property
    def examination_is_due(self) -> bool:
        """Whether the coming hypergradient is examined."""
        ...

    def parameters(self) -> Sequence[nn.Parameter]:
        """Return w."""
        ...

    def next_step(self) -> InnerStep:
        """Return what the next step will see; nothing moves on."""
        ...

    def replayed_loss(self, step: InnerStep | None = None) -> Loss:
        """Return the loss of a step (the last one) at the weights as they are now, or its parts."""
        ...

    def at(self, weights: Sequence[Tensor] | None) -> AbstractContextManager[None]:
        """Run the body with these weights (None: as they are); weights and buffers come back."""
        ...

    def lose(self, found: Mapping[int, NotFinite]) -> None:
        """Leave the searches behind that are no longer finite; one that is alone stops."""
        ...
