"""What PEFT does by itself for some architectures, so that layers there are not what was asked for.

The tables are PEFT's own. Where a release does not have them, it does not do these things.
"""

from collections.abc import Collection
from importlib import import_module
from typing import Any

from torch import nn


def model_type(model: nn.Module) -> str | None:
    """The architecture's name in transformers; None for any other module."""
    return getattr(getattr(model, "config", None), "model_type", None)


def expert_names(architecture: str | None) -> Collection[str]:
    """Names of layers that PEFT takes for weights of experts, wherever they stand.

    transformers 5 holds the experts of a mixture as one parameter, so PEFT turns a target such as
    `gate_proj` into that parameter, in dense layers and shared experts too. A pattern of targets
    becomes a list of last names there, which mixes layers that share one.

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
    """Whether PEFT refuses LoRA on the last part of a name, as in state-space mixers."""
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
