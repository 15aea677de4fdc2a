"""What the engine and its controls ask of outer variables: of gates, and of others."""

from collections.abc import Iterator
from typing import Any, Protocol

from torch import Tensor, nn


class OuterVariables(Protocol):
    """A module whose parameter `logits` is what an outer problem trains.

    Attributes:
        logits: free parameters.
        members: searches in one pass, on a leading axis of `logits`; None: one alone.
    """

    logits: nn.Parameter
    members: int | None

    def __call__(self) -> Tensor:
        """Return what follows from the logits: gates, weights."""
        ...

    def entropies(self) -> list[float]:
        """Return for each search how evenly it is shared out, from 0 to 1."""
        ...

    def parameters(self) -> Iterator[nn.Parameter]: ...
    def to(self, device: Any) -> Any: ...
