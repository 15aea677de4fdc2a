"""Plain LoRA on all rows that a retraining sees, cut by its singular values."""

from autolora_meta.allocators.replicate import Allocator, Replicate
from autolora_meta.allocators.scored import by_scores
from autolora_meta.ranks.pattern import RankPattern


def allocate(replicate: Replicate) -> RankPattern:
    """Allocate by the singular values of c B A after plain training on all rows but the test rows.

    The training has no decay, and as many steps as the search takes of its inner problem. `para`,
    and `frozen` under most importances, see training rows alone, where a layer that overfits has
    the largest singular values.
    """
    return by_scores(replicate, replicate.search("plain").components.scores("singular"))


ALLOCATOR = Allocator(
    allocate,
    summary="plain LoRA trained on training and validation rows, cut by its singular values",
    source="PARA's cut, arXiv 2604.27796, on all rows",
    searches=("plain",),
)
