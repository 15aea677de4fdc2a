"""What a frozen base can do: how coarsely it computes, and whether its weights are quantised."""

import torch
from torch import nn

# Parameter classes of bitsandbytes, by name: the package need not be installed.
_QUANTISED = {"Params4bit": "4 bits", "Int8Params": "8 bits"}


def quantisation(module: nn.Module) -> str | None:
    """`4 bits` or `8 bits` where weights of the base are stored so, else None."""
    for part in module.modules():
        for attribute, bits in (("is_loaded_in_4bit", "4 bits"), ("is_loaded_in_8bit", "8 bits")):
            if getattr(part, attribute, False) is True:
                return bits
    for parameter in module.parameters():
        if bits := _QUANTISED.get(type(parameter).__name__):
            return bits
    return None


def coarse_dtype(module: nn.Module) -> torch.dtype | None:
    """The coarsest dtype below float32 that the frozen base is stored in; None where there is none.

    Quantised weights are multiplied in bfloat16 as a rule.
    """
    if quantisation(module):
        return torch.bfloat16
    stored = {p.dtype for p in module.parameters() if p.dtype.is_floating_point}
    below = [dtype for dtype in stored if torch.finfo(dtype).bits < 32]
    return max(below, key=lambda dtype: torch.finfo(dtype).eps) if below else None
