"""Control: the learned ranks in other layers, to show whether it matters which layer gets which."""

from autolora_meta.allocators.learned import allocate as learned
from autolora_meta.allocators.replicate import Allocator, Replicate
from autolora_meta.foundation.randomness import derive
from autolora_meta.ranks.pattern import RankPattern
from autolora_meta.ranks.rules import shuffled_pattern


def allocate(replicate: Replicate) -> RankPattern:
    """Permute the learned ranks among layers of equal cost, at the same number of parameters."""
    return shuffled_pattern(learned(replicate), derive(replicate.seed, "shuffle"))


ALLOCATOR = Allocator(
    allocate,
    summary="the learned ranks permuted among layers of equal cost",
    source="control (no AutoLoRA paper ran it)",
    searches=("learned",),
)
