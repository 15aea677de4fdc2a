"""Architectures for which PEFT adapts other layers than it was asked to.

The tables are PEFT's own; a release without them does not do this.
"""

from collections.abc import Collection
from importlib import import_module
from typing import Any

from torch import nn


def model_type(model: nn.Module) -> str | None:
    """Return the architecture's name in transformers, or None for any other module."""
    return getattr(getattr(model, "config", None), "model_type", None)


def expert_names(architecture: str | None) -> Collection[str]:
    """Return the names of layers that PEFT takes for weights of experts, anywhere in the model.

    transformers 5 holds the experts of a mixture as one parameter. PEFT turns a target such as
    `gate_proj` into that parameter, in dense layers and shared experts too. A pattern of targets
    becomes a list of last names, which mixes layers that share one.

    Source: `peft.utils.transformers_weight_conversion`.

    >>> sorted(expert_names("mixtral"))
    ['gate', 'w1', 'w2', 'w3']
    """
    try:
        conversion: Any = import_module("peft.utils.transformers_weight_conversion")
    except ImportError:
        return ()
    if architecture is None or conversion.get_checkpoint_conversion_mapping(architecture) is None:
        return ()
    family = conversion._MODEL_TO_CONVERSION_PATTERN.get(architecture, "")
    return conversion._MOE_TARGET_MODULE_MAPPING.get(family, {}).keys()


def refused_by_peft(model: nn.Module, name: str) -> bool:
    """Return whether PEFT refuses LoRA on layers of this last name, as in state-space mixers."""
    try:
        from peft import LoraConfig
        from peft.tuners.tuners_utils import _check_lora_target_modules_mamba as check
    except ImportError:
        return False
    try:
        check(LoraConfig(), model, name.rpartition(".")[2])
    except ValueError:
        return True
    return False
