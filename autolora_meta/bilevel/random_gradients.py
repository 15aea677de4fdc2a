"""A control of any formulation: the gates move along noise instead of along the hypergradient."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from autolora_meta.bilevel.outer_variables import OuterVariables
from autolora_meta.bilevel.passes import Passes
from autolora_meta.bilevel.problem import LoraProblem
from autolora_meta.foundation.randomness import derive
from autolora_meta.hypergradients.vectors import gradients


class Noise:
    """Endless Gaussian tensors in place of batches.

    Args:
        shape: of each tensor of one seed.
        seeds: of the sequences; of several, a first axis holds one after the other.
    """

    def __init__(self, shape: Sequence[int], seeds: Sequence[int]) -> None:
        self._shape, self._seeds, self._drawn = tuple(shape), tuple(seeds), 0

    def next(self) -> Tensor:
        noise = self.peek()
        self._drawn += 1
        return noise

    def peek(self) -> Tensor:
        drawn = [self._of(derive(seed, "noise", self._drawn)) for seed in self._seeds]
        return torch.stack(drawn) if len(drawn) > 1 else drawn[0]

    def _of(self, seed: int) -> Tensor:
        return torch.randn(self._shape, generator=torch.Generator().manual_seed(seed))

    def state_dict(self) -> dict[str, int]:
        return {"drawn": self._drawn}

    def load_state_dict(self, state: Mapping[str, int]) -> None:
        self._drawn = state["drawn"]


class RandomGradients(LoraProblem):
    """Outer problem of the control: a random linear function of alpha, whose gradient is noise.

    It does not run the model, so it costs nothing.

    Args:
        name: as of any problem.
        gates: alpha.
        optimizer: over its logits.
        seeds: of the noise of each search; None: that of torch's random state.
    """

    def __init__(
        self,
        name: str,
        *,
        gates: OuterVariables,
        optimizer: torch.optim.Optimizer,
        seeds: Sequence[int] | None = None,
    ) -> None:
        noise = Noise(gates.logits.shape[-2:], seeds or [torch.initial_seed()])
        module: Any = gates
        super().__init__(
            name, module=module, optimizer=optimizer, batches=noise, members=gates.members
        )

    def training_step(self, batch: Tensor) -> Tensor:
        return (batch * self.module.logits).sum()

    def training_step_exec(self, batch: Tensor) -> Iterator[Tensor]:
        yield self.training_step(batch)

    def backward(
        self, loss: Passes, params: Sequence[Tensor], paths: Sequence[Any], **_: Any
    ) -> None:
        self.set_grads(params, gradients(loss, params))
