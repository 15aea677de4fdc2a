"""A control of any formulation: the gates move along noise in place of the hypergradient."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from autolora_meta.bilevel.gating import Gates
from autolora_meta.bilevel.problem import LoraProblem
from autolora_meta.foundation.randomness import derive


class Noise:
    """Gaussian tensors without end, in the place of batches.

    Args:
        shape: of each.
        seed: of them all.
    """

    def __init__(self, shape: Sequence[int], seed: int) -> None:
        self._shape, self._seed, self._drawn = tuple(shape), seed, 0

    def next(self) -> Tensor:
        noise = self.peek()
        self._drawn += 1
        return noise

    def peek(self) -> Tensor:
        generator = torch.Generator().manual_seed(derive(self._seed, "noise", self._drawn))
        return torch.randn(self._shape, generator=generator)

    def state_dict(self) -> dict[str, int]:
        return {"drawn": self._drawn}

    def load_state_dict(self, state: Mapping[str, int]) -> None:
        self._drawn = state["drawn"]


class RandomGradients(LoraProblem):
    """Outer problem of the control: a random linear functional of alpha, whose gradient is noise.

    The model takes no part in it, so it costs nothing.

    Args:
        name: as of any problem.
        gates: alpha.
        optimizer: over its logits.
    """

    def __init__(self, name: str, *, gates: Gates, optimizer: torch.optim.Optimizer) -> None:
        noise = Noise(gates.logits.shape, torch.initial_seed())
        super().__init__(name, module=gates, optimizer=optimizer, batches=noise)

    def training_step(self, batch: Tensor) -> Tensor:
        return (batch * self.module.logits).sum()

    def training_step_exec(self, batch: Tensor) -> Tensor:
        return self.training_step(batch)

    def backward(
        self, loss: Tensor, params: Sequence[Tensor], paths: Sequence[Any], **_: Any
    ) -> None:
        self.set_grads(params, torch.autograd.grad(loss, list(params)))
