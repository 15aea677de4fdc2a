"""Pretrained weights of the target layers, for the peers that read them."""

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from autolora_meta.errors import InputError


def weight_of(model: nn.Module, name: str) -> nn.Parameter:
    """Return the weight of a layer.

    Raises:
        InputError: it is stored in 8 bits or less, so that its numbers cannot be read.
    """
    layer: Any = model.get_submodule(name)
    if not layer.weight.is_floating_point():
        raise InputError(
            f"the weight of {name} is quantised ({layer.weight.dtype}), and this allocator reads "
            "pretrained weights or their gradients; load the base unquantised, or leave the arm "
            "out of compare.arms"
        )
    return layer.weight


def matrices(model: nn.Module, names: Sequence[str]) -> Iterator[Tensor]:
    """Return each weight as a matrix in float64 on the CPU.

    The weight of a convolution becomes out x (in * height * width).

    Raises:
        InputError: a weight is quantised.
    """
    for name in names:
        yield weight_of(model, name).detach().to("cpu", torch.float64).flatten(1)
