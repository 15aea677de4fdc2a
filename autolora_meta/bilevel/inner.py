"""The inner problem as hypergradients, guards and diagnostics see it."""

from collections import deque
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor, nn

from autolora_meta.foundation.randomness import RandomState
from autolora_meta.hypergradients.choice import HypergradientOptions
from autolora_meta.hypergradients.unrolled import RecordedStep


class InnerStep(NamedTuple):
    """What an inner step saw, so that it can be taken again and its loss be differentiated."""

    batch: Any
    random_state: RandomState


@dataclass
class InnerLoop:
    """What the inner steps since the last outer step leave behind for its hypergradient.

    Attributes:
        recorded: the last of them, as many as `unrolled` goes back; none for other methods.
        tape: all of them, so that they can be taken again.
        before: the weights before the last one.
        gradient: g_w of the last one, where the method differentiates through Adam.
        centre: (g_w, g_a) of the last one, where the method starts a forward difference there.
    """

    recorded: deque[RecordedStep]
    tape: list[InnerStep] = field(default_factory=list)
    before: list[Tensor] = field(default_factory=list)
    gradient: list[Tensor] | None = None
    centre: tuple[list[Tensor], list[Tensor]] | None = None


class Inner(Protocol):
    """An inner problem whose loss can be evaluated again, at these weights and at others."""

    loop: InnerLoop
    loss: float  # of its last step

    @property
    def name(self) -> str: ...
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

    def replayed_loss(self, step: InnerStep | None = None) -> Tensor:
        """Return the loss of a step (the last one) at the weights as they are now."""
        ...

    def at(self, weights: Sequence[Tensor] | None) -> AbstractContextManager[None]:
        """Run the body with these weights (None: as they are); weights and buffers come back."""
        ...
