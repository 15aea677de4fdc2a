"""Batches of a problem: without end, with a place that can be saved, on its device."""

from collections.abc import Mapping
from typing import Any, Protocol

from torch import Tensor


class Batches(Protocol):
    """Batches without end, whose place can be saved."""

    def next(self) -> Any: ...

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state: Mapping[str, Any]) -> None: ...


def to_device(batch: Any, device: Any) -> Any:
    """Tensors of a nested batch on `device`; mappings become plain dicts."""
    if isinstance(batch, Tensor):
        return batch.to(device)
    if isinstance(batch, Mapping):
        return {key: to_device(value, device) for key, value in batch.items()}
    if isinstance(batch, tuple | list):
        return type(batch)(to_device(value, device) for value in batch)
    return batch
