"""Uniform ranks that are trained for longer: what the search costs, spent on the retraining."""

from autolora_meta.allocators.replicate import Allocator
from autolora_meta.allocators.training import learned_work
from autolora_meta.allocators.uniform import allocate
from autolora_meta.config.run import RunConfig


def extra_steps(config: RunConfig) -> int:
    """As many plain steps as the learned search costs, at most.

    Search and retraining of `learned` then cost as much as this arm; where `search.patience` ends
    the search early, this arm has the more.
    """
    return int(learned_work(config))


ALLOCATOR = Allocator(
    allocate,
    summary="uniform ranks, retrained for as many more steps as the learned search costs",
    source="control: equal total cost",
    extra_steps=extra_steps,
)
