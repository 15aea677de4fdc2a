"""What a frozen base can do: how coarsely it computes, and whether its weights are quantised."""

import torch
from torch import nn

from autolora_meta.hypergradients.choice import HypergradientOptions
from autolora_meta.hypergradients.methods import METHODS

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


def refuse_on_bits(method: HypergradientOptions, quantization: str | None) -> None:
    """Refuse a method by double backward on a base that is to be quantised.

    Args:
        method: of the search.
        quantization: `model.quantization`; None: the base is stored as it is.

    Raises:
        ValueError: the kernels of such a base have no double backward; names methods that work.
    """
    if quantization is not None and not method.record.works_on_quantised:
        fit = [name for name, record in METHODS.items() if record.works_on_quantised]
        raise ValueError(
            f"model.quantization is {quantization}, whose kernels have no double backward, and "
            f"search.hypergradient '{method.method}' needs one; methods that work: "
            f"{', '.join(fit)}, or a solver with products: finite_difference"
        )
