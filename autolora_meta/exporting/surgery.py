"""An adapter made over: padded to one rank, or merged into its base."""

from typing import Any

import torch
from peft import LoraConfig, PeftModel
from torch import Tensor
from torch.nn import functional as F
from transformers import PreTrainedModel

from autolora_meta.errors import InputError
from autolora_meta.ranks.export import plain
from autolora_meta.ranks.stored import FACTORS, PREFIX, StoredAdapter


def pad(adapter: StoredAdapter, weights: dict[str, Tensor]) -> tuple[LoraConfig, dict[str, Tensor]]:
    """The same update at one rank R, the largest, for engines that know one rank an adapter.

    A gets rows of zeros and B columns of zeros. R has one alpha = c R; a layer whose own scale c_l
    is another has it in its B:

        c_l B_l A_l = c [B_l c_l / c, 0] [A_l; 0]

    Layers without factors stay out: an engine finds none under their names and leaves them alone.

    Args:
        adapter: what the adapter's files say.
        weights: its tensors, by their names in the file.

    Returns:
        The configuration, without patterns, and the tensors.

    Raises:
        InputError: the adapter is of a variant in which factors are not all there is (DoRA).
    """
    if adapter.config.use_dora:
        raise InputError(
            "a DoRA adapter scales the norm of the whole weight, which padding would not keep; "
            "export it with --to merged"
        )
    rank, scale = max(adapter.ranks), adapter.scales[0]
    padded = dict(weights)
    for name, own, factor in zip(adapter.names, adapter.ranks, adapter.scales, strict=True):
        for a, b in FACTORS:
            if (key := f"{PREFIX}{name}{a}") in weights:
                padded[key] = _grown(weights[key], 0, rank - own)
                other = f"{PREFIX}{name}{b}"
                padded[other] = _grown(weights[other] * (factor / scale), 1, rank - own)
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


def _grown(factor: Tensor, axis: int, more: int) -> Tensor:
    """`more` entries of zero at the end of an axis."""
    sides = [0, 0] * (factor.ndim - 1 - axis) + [0, more]
    return F.pad(factor, sides).contiguous()


def merge(model: PeftModel) -> PreTrainedModel:
    """The base with W + c B A in the place of W, and the trained head; `model` is used up."""
    tuner: Any = model
    with torch.no_grad():
        merged = tuner.merge_and_unload(safe_merge=True)
    return merged
