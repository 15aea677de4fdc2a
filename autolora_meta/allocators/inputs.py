"""What a layer reads, as rows of features."""

from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn


def input_rows(inputs: Any, batch: Any) -> Tensor:
    """Return the inputs of a layer as rows, without those of tokens that the mask hides. (n, in)

    Args:
        inputs: of a forward hook, or the tensor itself. (..., in)
        batch: what the model was given; its `attention_mask` is read, if it has one.
    """
    states = inputs[0] if isinstance(inputs, tuple) else inputs
    mask = batch.get("attention_mask") if isinstance(batch, dict) else None
    if mask is not None and states.shape[:-1] == mask.shape:
        return states[mask.bool()]
    return states.reshape(-1, states.shape[-1])


def patch_rows(layer: nn.Conv2d, images: Tensor) -> Tensor:
    """Return the patches that a convolution multiplies with its weight, as rows.

    Args:
        layer: a convolution without groups.
        images: its input. (N, in, H, W)

    Returns:
        (N * positions, in * height * width), in the order of `layer.weight.flatten(1)`.
    """
    conv: Any = layer
    mode = "constant" if conv.padding_mode == "zeros" else conv.padding_mode
    padded = F.pad(images, conv._reversed_padding_repeated_twice, mode=mode)
    patches = F.unfold(padded, conv.kernel_size, conv.dilation, 0, conv.stride)  # (N, i h w, P)
    return patches.mT.flatten(0, 1)
