"""Random ranks at the budget: the control for whether it matters who gets them."""

import torch

from autolora_meta.allocators.replicate import Allocator, Replicate
from autolora_meta.allocators.scored import by_scores
from autolora_meta.randomness import derive
from autolora_meta.ranks.pattern import RankPattern


def allocate(replicate: Replicate) -> RankPattern:
    """Components drawn one after another, each as likely as any other, until the budget is spent.

    Unlike `shuffled` it does not know how uneven the learned ranks are.
    """
    names, _ = replicate.layers
    draw = torch.Generator().manual_seed(derive(replicate.seed, "random ranks"))
    shape = len(names), replicate.config.lora.k
    return by_scores(replicate, torch.rand(shape, generator=draw, dtype=torch.float64))


ALLOCATOR = Allocator(
    allocate,
    summary="components drawn at random until the budget is spent",
    source="control (no AutoLoRA paper ran it)",
)
