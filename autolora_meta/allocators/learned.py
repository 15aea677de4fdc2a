"""The ranks that the search learned."""

from autolora_meta.allocators.replicate import Allocator, Replicate
from autolora_meta.ranks.pattern import RankPattern


def allocate(replicate: Replicate) -> RankPattern:
    """Allocate by the run's importance and rule after the replicate's search."""
    return replicate.search("learned").ranks


ALLOCATOR = Allocator(
    allocate,
    summary="ranks learned by the bilevel search",
    source="AutoLoRA, arXiv 2403.09113",
    searches=("learned",),
)
