"""New ranks for a PEFT model that exists: its configuration, and its LoRA rewritten in place."""

import copy
from typing import Any

import torch
from peft import LoraConfig, PeftModel
from torch import nn

from autolora_meta.finetuning.architectures import model_type
from autolora_meta.finetuning.lora_config import lora_config, plain
from autolora_meta.foundation.randomness import seeded
from autolora_meta.ranks.pattern import RankPattern

# What says which layers are adapted, at which ranks and scale.
_OF_RANKS = ("r", "lora_alpha", "rank_pattern", "alpha_pattern", "target_modules")
_OF_RANKS += ("exclude_modules", "layers_to_transform", "layers_pattern", "init_lora_weights")


def with_ranks(
    config: LoraConfig, pattern: RankPattern, architecture: str | None = None
) -> LoraConfig:
    """Return a copy of a configuration with the patterns and anchored names of `lora_config`.

    Args:
        config: of the same layers, at other ranks.
        pattern: names as in the base model.
        architecture: `model_type` of a transformers model.

    Raises:
        InputError: all ranks are 0.
    """
    made, kept = lora_config(pattern, architecture=architecture), copy.deepcopy(config)
    for key in _OF_RANKS:
        setattr(kept, key, getattr(made, key))
    return kept


def give_ranks(model: PeftModel, pattern: RankPattern, seed: int, name: str = "default") -> None:
    """Give each LoRA layer of `model` its rank; A is drawn anew and B is 0.

    A layer of rank 0 becomes the plain layer that it was. The configuration gets the patterns and
    anchored names of `lora_config`, so that what `save_pretrained` writes is loaded as it is. The
    factors are new parameters: an optimizer made before does not know them.

    Args:
        model: has plain LoRA on exactly the layers of `pattern`.
        pattern: names as in the base model.
        seed: of the factors A.
        name: of the adapter.

    Raises:
        InputError: all ranks are 0; the model is then as it was.
    """
    base = model.get_base_model()
    given: Any = model.peft_config[name]
    made = with_ranks(given, pattern, model_type(base))
    ranks = dict(pattern)
    with seeded(seed), torch.no_grad():
        for layer_name, rank in ranks.items():
            layer: Any = base.get_submodule(layer_name)
            if rank:
                _resize(layer, rank, pattern.scale, name)
                continue
            parent, _, leaf = layer_name.rpartition(".")
            setattr(base.get_submodule(parent), leaf, layer.get_base_layer())
    for key in _OF_RANKS:
        setattr(given, key, getattr(made, key))  # PEFT holds this very object in several places
    targeted: Any = getattr(model.base_model, "targeted_module_names", None)
    if targeted is not None:
        targeted[:] = [one for one in targeted if ranks.get(one, 1)]


def _resize(layer: Any, rank: int, scale: float, name: str) -> None:
    """Give a LoRA layer factors of another rank, as PEFT draws them: B = 0."""
    a, b = layer.lora_A[name], layer.lora_B[name]
    convolution = isinstance(a, nn.Conv2d)
    for module, axis, attribute in (
        (a, 0, "out_channels" if convolution else "out_features"),
        (b, 1, "in_channels" if convolution else "in_features"),
    ):
        old = module.weight
        shape = [rank if i == axis else size for i, size in enumerate(old.shape)]
        module.weight = nn.Parameter(old.new_zeros(shape), requires_grad=old.requires_grad)
        setattr(module, attribute, rank)
    layer.r[name], layer.lora_alpha[name] = rank, plain(scale * rank)  # alpha = c r
    layer.scaling[name] = scale
    layer.reset_lora_parameters(name, True)
