"""What a problem is fed: batches without end, with a place that can be saved, and their loss."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Protocol

from torch import Tensor, nn

from autolora_meta.foundation.parts import Parts

Loss = Callable[[nn.Module, Any], Tensor]  # (model, batch) -> scalar


class Batches(Protocol):
    """Batches without end, whose place can be saved."""

    def next(self) -> Any:
        """The next batch."""
        ...

    def peek(self) -> Any:
        """The batch that `next` will give."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """The place among the batches."""
        ...

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go to a place that `state_dict` gave."""
        ...


def to_device(batch: Any, device: Any) -> Any:
    """Tensors of a nested batch on `device`; mappings become plain dicts."""
    if isinstance(batch, Tensor):
        return batch.to(device)
    if isinstance(batch, Parts):
        return replace(batch, batches=to_device(batch.batches, device))
    if isinstance(batch, Mapping):
        return {key: to_device(value, device) for key, value in batch.items()}
    if isinstance(batch, tuple | list):
        return type(batch)(to_device(value, device) for value in batch)
    return batch
