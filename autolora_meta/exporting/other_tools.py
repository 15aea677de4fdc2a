"""A LoraConfig for other tools: axolotl's YAML, a Python file for Trainer and TRL."""

from collections.abc import Mapping
from typing import Any

import yaml
from peft import LoraConfig

from autolora_meta.errors import InputError

# PEFT's option -> axolotl's key. The two patterns came with axolotl 0.18.
AXOLOTL = {
    "r": "lora_r",
    "lora_alpha": "lora_alpha",
    "lora_dropout": "lora_dropout",
    "target_modules": "lora_target_modules",
    "rank_pattern": "lora_rank_pattern",
    "alpha_pattern": "lora_alpha_pattern",
    "modules_to_save": "lora_modules_to_save",
    "fan_in_fan_out": "lora_fan_in_fan_out",
    "use_rslora": "peft_use_rslora",
    "use_dora": "peft_use_dora",
    "layers_to_transform": "peft_layers_to_transform",
    "layers_pattern": "peft_layers_pattern",
    "target_parameters": "lora_target_parameters",
    "layer_replication": "peft_layer_replication",
    "init_lora_weights": "peft_init_lora_weights",
    "trainable_token_indices": "peft_trainable_token_indices",
    "ensure_weight_tying": "peft_ensure_weight_tying",
}
# What an initialisation reads from data; it says nothing about ranks or trained factors.
_START = ("eva_config", "corda_config", "lora_ga_config")
_ALWAYS = ("r", "lora_alpha", "lora_dropout", "target_modules")
# Where an adapter comes from and what it is for: no settings of the LoRA itself.
_ABOUT = {
    "auto_mapping",
    "base_model_name_or_path",
    "inference_mode",
    "peft_type",
    "peft_version",
    "revision",
}


def settings(config: LoraConfig) -> dict[str, Any]:
    """Return the options of `config` that differ from PEFT's defaults, and the usual ones.

    >>> settings(LoraConfig(r=2, target_modules=["q"]))["target_modules"]
    ['q']
    """
    usual = LoraConfig().to_dict()
    given = {
        key: sorted(value) if isinstance(value, set) else value
        for key, value in config.to_dict().items()
        if key not in _ABOUT and (key in _ALWAYS or (value or None) != (usual.get(key) or None))
    }
    if "modules_to_save" in given:  # PEFT adds the usual heads to those that are named
        given["modules_to_save"] = list(dict.fromkeys(given["modules_to_save"]))
    if "task_type" in given:
        given["task_type"] = getattr(config.task_type, "value", config.task_type)
    return given


def to_axolotl(config: LoraConfig, base: str | None) -> str:
    """Return the adapter's part of an axolotl configuration, as YAML.

    Args:
        config: of the adapter.
        base: name or folder of the base model.

    Raises:
        InputError: the adapter has a setting that axolotl has no key for, or an alpha that is no
            whole number.

    Source: `LoraConfig` in axolotl/utils/schemas/peft.py of axolotl 0.19.
    """
    refuse_broken_alphas(config)
    given = settings(config)
    given.pop("task_type", None)  # axolotl takes it from the model
    if any(given.pop(key, None) for key in _START):
        given.pop("init_lora_weights", None)
    if foreign := sorted(given.keys() - AXOLOTL.keys()):
        raise InputError(
            f"axolotl has no key for these settings of the adapter: {', '.join(foreign)}; use "
            "`--to trainer`, which holds them all"
        )
    keys = {"base_model": base} if base else {}
    body = {AXOLOTL[key]: value for key, value in given.items()}
    text = yaml.safe_dump({**keys, "adapter": "lora", **body}, sort_keys=False, width=1000)
    return (
        "# The adapter's part of an axolotl configuration: its own rank for each layer.\n"
        "# lora_rank_pattern and lora_alpha_pattern need axolotl 0.18 or newer; leave\n"
        "# lora_target_linear out, which would adapt the other layers too.\n" + text
    )


def refuse_broken_alphas(config: LoraConfig) -> None:
    """Refuse an alpha that is no whole number: axolotl's schema takes integers.

    Raises:
        InputError: there is one.
    """
    alphas = {"lora_alpha": config.lora_alpha, **(config.alpha_pattern or {})}
    broken = {name: alpha for name, alpha in alphas.items() if not float(alpha).is_integer()}
    if broken:
        name, alpha = next(iter(broken.items()))
        raise InputError(
            f"axolotl takes whole numbers for alpha, and {name} has {alpha:g} ({len(broken)} such "
            "layers); search with a whole number as lora.scale, or use `--to start` and axolotl's "
            "lora_model_dir"
        )


def from_axolotl(text: str) -> LoraConfig:
    """Return the LoraConfig that axolotl makes of what `to_axolotl` wrote."""
    given = yaml.safe_load(text)
    return LoraConfig(**{ours: given[key] for ours, key in AXOLOTL.items() if key in given})


def to_trainer(config: LoraConfig, base: str | None, model_class: str, labels: int | None) -> str:
    """Return a Python file that makes the `lora_config`, for transformers' Trainer and TRL.

    Args:
        config: of the adapter.
        base: name or folder of the base model.
        model_class: transformers' class for base and head.
        labels: number of classes, if the head has classes.
    """
    count = "" if labels is None else f", num_labels={labels}"
    return f'''"""LoRA with its own rank for each layer; run this file to see what is trained."""

from peft import LoraConfig, get_peft_model
from transformers import {model_class}

base = {base or "a folder or an id of the hub"!r}
lora_config = LoraConfig(
{_arguments(settings(config))})

if __name__ == "__main__":
    model = {model_class}.from_pretrained(base{count})
    model = get_peft_model(model, lora_config)
    model.print_trainable_parameters()
    # transformers: Trainer(model=model, args=..., train_dataset=...).train()
    # TRL:          SFTTrainer(model=base, peft_config=lora_config, train_dataset=...).train()
'''


def _arguments(given: Mapping[str, Any]) -> str:
    lines = []
    for key, value in given.items():
        if isinstance(value, dict):
            entries = "".join(f"        {name!r}: {number!r},\n" for name, number in value.items())
            lines.append(f"    {key}={{\n{entries}    }},\n")
        else:
            lines.append(f"    {key}={value!r},\n")
    return "".join(lines)
