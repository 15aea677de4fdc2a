"""Hashes by which work that goes on knows that what it reads is what it read before."""

import hashlib
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from autolora_meta.foundation.parts import Parts

_READ = 64  # numbers of each frozen tensor


def content_hash(*values: object) -> str:
    """Return a hash of tensors, strings and numbers in mappings and lists, nested as you like.

    Other objects are passed over.
    """
    found = hashlib.sha256()
    _add(found, values)
    return found.hexdigest()


def base_hash(model: nn.Module) -> str:
    """Return a hash of the names and shapes of all parameters, and a few numbers of frozen ones."""
    shapes, few = [], []
    for name, weight in model.named_parameters():
        shapes.append(f"{name} {tuple(weight.shape)} {weight.dtype}")
        if not weight.requires_grad and weight.numel():
            flat = weight.detach().flatten()
            few.append(flat[:: max(1, flat.numel() // _READ)])
    return content_hash(shapes, few)


def _add(found: Any, value: object) -> None:
    if isinstance(value, Tensor):
        value = value.detach().cpu().contiguous()
        found.update(f"{tuple(value.shape)} {value.dtype}".encode())
        found.update(value.flatten().view(torch.uint8).numpy())
    elif isinstance(value, Mapping):
        for key in sorted(value, key=str):
            _add(found, str(key))
            _add(found, value[key])
    elif isinstance(value, Parts):
        _add(found, [*value.batches, *value.weights])
    elif isinstance(value, list | tuple):
        found.update(f"{len(value)}:".encode())
        for one in value:
            _add(found, one)
    elif value is None or isinstance(value, str | int | float):
        found.update(f"{value!r},".encode())
