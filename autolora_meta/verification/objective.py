"""The loss of a module as a function of its trainable weights."""

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.attention import SDPBackend, sdpa_kernel

from autolora_meta.hypergradients.vectors import Vector


class Objective(nn.Module):
    """loss(model, batch) at given weights.

    Args:
        model: any module; its parameters that require gradients are the weights.
        loss: (model, batch) -> scalar.
    """

    def __init__(self, model: nn.Module, loss: Callable[[Any, Any], Tensor]) -> None:
        super().__init__()
        self.model = model
        self.loss = loss
        self.named = {name: p for name, p in self.named_parameters() if p.requires_grad}

    @property
    def params(self) -> list[Tensor]:
        """The current weights of the model."""
        return list(self.named.values())

    def forward(self, batch: Any) -> Tensor:
        return self.loss(self.model, batch)

    def at(self, weights: Vector, batch: Any) -> Tensor:
        """Return the loss at `weights`, with the attention kernel that has a double backward.

        All methods and references use one kernel, since another draws other dropout masks.
        """
        with sdpa_kernel(SDPBackend.MATH):
            return functional_call(self, dict(zip(self.named, weights, strict=True)), (batch,))
