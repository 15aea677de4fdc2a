"""What plain LoRA would have told us: the same search with the gates frozen, read the same way."""

from autolora_meta.allocators.replicate import Allocator, Replicate
from autolora_meta.ranks.pattern import RankPattern
from autolora_meta.ranks.rules import allocate as by_rule


def allocate(replicate: Replicate) -> RankPattern:
    """Ranks by the run's importance, at its budget, of a search whose gates never moved.

    With frozen gates alpha says nothing, and a threshold on it would keep every component: where
    the run's rule is `threshold`, the budget is what the learned ranks cost, and where its
    importance is `alpha`, singular values are read instead.
    """
    ranks = replicate.config.ranks
    importance = "singular" if ranks.importance == "alpha" else ranks.importance
    options = ranks.model_copy(
        update={"rule": "budget", "budget": replicate.budget, "importance": importance}
    )
    return by_rule(replicate.search("frozen").components, options)


ALLOCATOR = Allocator(
    allocate,
    summary="the same search with alpha frozen, same read-out: what plain LoRA tells",
    source="control; with importance singular it is PARA's cut, arXiv 2604.27796",
    searches=("frozen",),
)
