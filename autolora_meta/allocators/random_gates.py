"""Control: the same search with noise in place of the hypergradient."""

from autolora_meta.allocators.replicate import Allocator, Replicate
from autolora_meta.ranks.pattern import RankPattern
from autolora_meta.ranks.rules import allocate as by_rule


def allocate(replicate: Replicate) -> RankPattern:
    """Allocate by the run's importance and budget after a search with random gates."""
    options = replicate.config.ranks.model_copy(
        update={"rule": "budget", "budget": replicate.budget}
    )
    return by_rule(replicate.search("random").components, options)


ALLOCATOR = Allocator(
    allocate,
    summary="the same search with alpha fed random gradients, same read-out",
    source="control (no AutoLoRA paper ran it)",
    searches=("random",),
)
