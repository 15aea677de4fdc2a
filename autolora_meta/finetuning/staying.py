"""A base that stays where it was loaded: quantised, or laid out over devices."""

import copy
from typing import Any, TypeVar

import torch
from torch import nn

M = TypeVar("M", bound=nn.Module)
_MARK = "stays_where_it_was_loaded"


def stay(model: nn.Module) -> None:
    """Mark a model that is to stay: transformers notes no map of a single device."""
    setattr(model, _MARK, True)


def stays(model: nn.Module) -> bool:
    """Return whether a model is neither moved nor copied: transformers placed it as it loaded it.

    Args:
        model: a model of transformers, or a PeftModel of one; others do not stay.
    """
    held: Any = model
    placed = getattr(held, "hf_device_map", None) is not None
    marked = getattr(held, _MARK, False) is True
    return placed or marked or getattr(held, "is_quantized", False) is True


def moved(model: M, device: torch.device | str) -> M:
    """Return the model on a device, or where it is if it stays there."""
    return model if stays(model) else model.to(device)


def copied(model: M) -> M:
    """Return a copy of a model; of one that stays, modules of its own over the same numbers.

    Nobody changes them: what is trained stands beside.
    """
    if not stays(model):
        return copy.deepcopy(model)
    shared = [*model.parameters(), *model.buffers()]
    return copy.deepcopy(model, {id(tensor): tensor for tensor in shared})
