"""Changes of an adapter: padded to one rank, made plain, or merged into its base."""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from peft import LoraConfig, PeftModel
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import PreTrainedModel

from autolora_meta.exporting.stored import FACTORS, PREFIX, StoredAdapter
from autolora_meta.finetuning.lora_config import plain


def pad(adapter: StoredAdapter, weights: dict[str, Tensor]) -> tuple[LoraConfig, dict[str, Tensor]]:
    """Return the same update at one rank R, the largest, for engines with one rank per adapter.

    A gets rows of zeros and B columns of zeros, and alpha = c R. If the scale c_l of a layer
    differs, it goes into B:

        c_l B_l A_l = c [B_l c_l / c, 0] [A_l; 0]

    Layers without factors are left out: an engine finds none under their names.

    Args:
        adapter: what the adapter's files hold.
        weights: its tensors, by their names in the file.

    Returns:
        The configuration, without patterns, and the tensors.
    """
    rank, scale = max(adapter.ranks), adapter.scales[0]
    padded = dict(weights)
    for name, own, factor in zip(adapter.names, adapter.ranks, adapter.scales, strict=True):
        for a, b in FACTORS:
            if (key := f"{PREFIX}{name}{a}") in weights:
                padded[key] = _grown(weights[key], 0, rank - own)
                other = f"{PREFIX}{name}{b}"
                padded[other] = _grown(weights[other] * (factor / scale), 1, rank - own)
        if (bias := f"{PREFIX}{name}.lora_B.bias") in weights:
            padded[bias] = weights[bias] * (factor / scale)
    settings = adapter.config.to_dict() | {
        "r": rank,
        "lora_alpha": plain(scale * rank),  # alpha = c R
        "target_modules": list(adapter.names),
        "rank_pattern": {},
        "alpha_pattern": {},
        "use_rslora": False,
        "exclude_modules": None,
        "layers_to_transform": None,
        "layers_pattern": None,
    }
    settings.pop("peft_version", None)
    return LoraConfig(**settings), padded


def as_difference(
    adapter: StoredAdapter, weights: dict[str, Tensor], start: Mapping[str, Tensor]
) -> tuple[StoredAdapter, dict[str, Tensor]]:
    """Return the same update of the stored base as plain factors of twice the rank.

    PiSSA and OLoRA subtract the factors that they start from from the base:

        W - c B0 A0 + c B A = W + c [B, -B0] [A; A0]

    Args:
        adapter: what the adapter's files hold.
        weights: its tensors, by their names in the file.
        start: A0 and B0, by the same names.
    """
    doubled = dict(weights)
    for name in adapter.names:
        for a, b in FACTORS:
            if (key := f"{PREFIX}{name}{a}") in weights:
                doubled[key] = torch.cat([weights[key], start[key].to(weights[key].dtype)])
                other = f"{PREFIX}{name}{b}"
                first = start[other].to(weights[other].dtype)
                doubled[other] = torch.cat([weights[other], -first], dim=1)
    config = copy.copy(adapter.config)
    config.init_lora_weights = True
    ranks = tuple(2 * rank for rank in adapter.ranks)
    costs = tuple(2 * cost for cost in adapter.costs)
    return replace(adapter, config=config, ranks=ranks, costs=costs), doubled


def _grown(factor: Tensor, axis: int, more: int) -> Tensor:
    """Append `more` zeros along an axis."""
    sides = [0, 0] * (factor.ndim - 1 - axis) + [0, more]
    return F.pad(factor, sides).contiguous()


def untie(base: PreTrainedModel, adapter: LoraConfig, names: Sequence[str]) -> None:
    """Give input and output embeddings a weight each, if they share one and one alone is adapted.

    Args:
        base: changed in place, with its configuration.
        adapter: of the adapter.
        names: full names of the layers that have factors.
    """
    output: Any = base.get_output_embeddings()
    if output is None or adapter.ensure_weight_tying:
        return
    shared: Any = base.get_input_embeddings()
    if output.weight is not shared.weight:
        return
    touched = {*names, *(adapter.modules_to_save or ())}
    if adapter.trainable_token_indices:
        return  # PEFT carries these to both
    ends = tuple(n for n, m in base.named_modules() if m is output or m is shared)
    if any(end == name or end.endswith(f".{name}") for end in ends for name in touched):
        output.weight = nn.Parameter(output.weight.detach().clone())
        base.config.tie_word_embeddings = False


def merge(model: PeftModel) -> PreTrainedModel:
    """Return the base with W + c B A in place of W, and the trained head; `model` is used up."""
    tuner: Any = model
    with torch.no_grad():
        merged = tuner.merge_and_unload(safe_merge=True)
    return merged
