"""What a problem trains, remembered and put back bit for bit; the frozen base is never copied."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from autolora_meta.hypergradients.vectors import assign


@dataclass(frozen=True)
class States:
    """Trainable weights, buffers and the state of their optimizer, as they were."""

    weights: list[Tensor]
    buffers: list[Tensor]
    optimizer: dict[Tensor, dict[str, Any]]

    @classmethod
    def of(
        cls, weights: Sequence[Tensor], module: nn.Module, optimizer: torch.optim.Optimizer
    ) -> "States":
        """Copies of what is there now."""
        return cls(
            [w.detach().clone() for w in weights],
            [b.clone() for b in module.buffers()],
            _copied(optimizer.state),
        )

    def put_back(
        self, weights: Sequence[Tensor], module: nn.Module, optimizer: torch.optim.Optimizer
    ) -> None:
        """Make all as it was, once: the optimizer goes on with the copies themselves."""
        assign(weights, self.weights)
        assign(module.buffers(), self.buffers)
        optimizer.state.clear()
        optimizer.state.update(self.optimizer)


@contextmanager
def restored(weights: Sequence[Tensor], module: nn.Module) -> Iterator[None]:
    """Run the body; weights and buffers come back, whatever it does to them."""
    kept = [w.detach().clone() for w in weights]
    buffers = [b.clone() for b in module.buffers()]
    try:
        yield
    finally:
        assign(weights, kept)
        assign(module.buffers(), buffers)


def _copied(state: Mapping[Tensor, Mapping[str, Any]]) -> dict[Tensor, dict[str, Any]]:
    """An optimizer's state, tensors cloned; its own state_dict takes ten times as long to copy."""
    return {
        parameter: {
            key: value.clone() if isinstance(value, Tensor) else value
            for key, value in values.items()
        }
        for parameter, values in state.items()
    }
