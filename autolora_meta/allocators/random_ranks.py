"""Control: random ranks at the budget, to show whether it matters which layers get them."""

import torch
from torch import Tensor

from autolora_meta.allocators.replicate import Replicate
from autolora_meta.allocators.scored import scored
from autolora_meta.foundation.randomness import derive


def scores(replicate: Replicate) -> Tensor:
    """Return random scores: every order of components is equally likely. (L, k)

    Unlike `shuffled`, this does not know how uneven the learned ranks are.
    """
    names, _ = replicate.layers
    draw = torch.Generator().manual_seed(derive(replicate.seed, "random ranks"))
    shape = len(names), replicate.config.lora.k
    return torch.rand(shape, generator=draw, dtype=torch.float64)


ALLOCATOR = scored(
    scores,
    summary="components drawn at random until the budget is spent",
    source="control (no AutoLoRA paper ran it)",
    static=True,
)
