"""Control: the same search with frozen gates, which is plain LoRA, read the same way."""

from autolora_meta.allocators.replicate import Allocator, Replicate
from autolora_meta.ranks.pattern import RankPattern
from autolora_meta.ranks.rules import allocate as by_rule


def allocate(replicate: Replicate) -> RankPattern:
    """Allocate by the run's importance and budget after a search with frozen gates.

    Frozen gates do not tell components apart, and a threshold on them would keep every one. If the
    run's rule is `threshold`, the budget is what the learned ranks cost; if its importance is
    `alpha`, singular values are read instead. If it is `layered`, gates that are all equal leave
    the spectrum of the plain search, which is read.
    """
    ranks = replicate.config.ranks
    (selection,) = ALLOCATOR.reads(replicate.config)
    equal = ranks.importance == "alpha" or selection == "plain"
    options = ranks.model_copy(
        update={
            "rule": "budget",
            "budget": replicate.budget,
            "importance": "singular" if equal else ranks.importance,
        }
    )
    return by_rule(replicate.search(selection).components, options)


ALLOCATOR = Allocator(
    allocate,
    summary="the same search with alpha frozen, same read-out: what plain LoRA tells",
    source="control; with importance singular it is PARA's cut, arXiv 2604.27796",
    searches=("frozen",),
)
