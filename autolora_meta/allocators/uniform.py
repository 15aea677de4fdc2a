"""Uniform: the same rank in every layer, as far as the budget goes."""

from autolora_meta.allocators.replicate import Allocator, Replicate
from autolora_meta.ranks.pattern import RankPattern
from autolora_meta.ranks.rules import uniform_pattern


def allocate(replicate: Replicate) -> RankPattern:
    """Allocate the largest uniform rank that fits, and spread the remainder over depth."""
    names, costs = replicate.layers
    lora, most = replicate.config.lora, replicate.config.ranks.max_rank
    return uniform_pattern(names, costs, lora.k, lora.scale, replicate.budget, most)


ALLOCATOR = Allocator(
    allocate,
    summary="the same rank in every layer, the remainder spread evenly over depth",
    source="LoRA, arXiv 2106.09685",
    static=True,
)
