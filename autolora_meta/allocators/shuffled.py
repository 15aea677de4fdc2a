"""The learned ranks in other places: the control for which layer gets the rank."""

from autolora_meta.allocators.learned import allocate as learned
from autolora_meta.allocators.replicate import Allocator, Replicate
from autolora_meta.foundation.randomness import derive
from autolora_meta.ranks.pattern import RankPattern
from autolora_meta.ranks.rules import shuffled_pattern


def allocate(replicate: Replicate) -> RankPattern:
    """The learned ranks permuted among layers of equal cost: the same parameters exactly."""
    return shuffled_pattern(learned(replicate), derive(replicate.seed, "shuffle"))


ALLOCATOR = Allocator(
    allocate,
    summary="the learned ranks permuted among layers of equal cost",
    source="control (no AutoLoRA paper ran it)",
    searches=("learned",),
)
