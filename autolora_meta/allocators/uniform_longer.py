"""Control: uniform ranks, retrained for as many more steps as the learned search costs."""

from autolora_meta.allocators.replicate import Allocator
from autolora_meta.allocators.training import learned_work
from autolora_meta.allocators.uniform import allocate
from autolora_meta.config.run import RunConfig


def extra_steps(config: RunConfig) -> int:
    """Return as many steps as the learned search costs at most, in plain steps.

    Search and retraining of `learned` then cost as much as this arm, or less if `search.patience`
    ends the search early.
    """
    return int(learned_work(config))


ALLOCATOR = Allocator(
    allocate,
    summary="uniform ranks, retrained for as many more steps as the learned search costs",
    source="control: equal total cost",
    extra_steps=extra_steps,
)
