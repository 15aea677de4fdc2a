"""Allocation: the ranks that an allocator chose, and what choosing them took."""

import time
from dataclasses import dataclass

from autolora_meta.allocators.replicate import Allocator, Replicate
from autolora_meta.device import threads
from autolora_meta.hypergradients.products import Cost
from autolora_meta.memory import peak
from autolora_meta.ranks.pattern import RankPattern


@dataclass(frozen=True)
class Allocation:
    """Ranks, and what choosing them took, model and rows at hand.

    The searches that the allocator names (`Allocator.searches`) count for nothing here when they
    were run before: their results keep their own cost and seconds.

    Args:
        pattern: the ranks.
        cost: forwards, backwards and double backwards of what the allocator ran itself.
        seconds: wall time.
        peak_memory: bytes by which memory rose above the loaded model: on CUDA what torch
            allocates, on Linux the resident set; None where nothing reliable is known.
    """

    pattern: RankPattern
    cost: Cost
    seconds: float
    peak_memory: int | None


def allocation(allocator: Allocator, replicate: Replicate) -> Allocation:
    """Let `allocator` choose the ranks of `replicate`, and measure what it takes.

    >>> allocation(allocator("para"), Replicate(config, seed=0)).cost  # doctest: +SKIP
    Cost(forwards=150, backwards=150, double_backwards=0)
    """
    device = replicate.config.runtime.resolved_device
    _ = replicate.prepared  # loading is no part of choosing
    before, replicate.cost = replicate.cost, Cost()
    try:
        with threads(replicate.config.runtime.threads), peak(device) as rose:
            started = time.perf_counter()
            pattern = allocator.allocate(replicate)
            seconds = time.perf_counter() - started
        return Allocation(pattern, replicate.cost, seconds, rose[0] if rose else None)
    finally:
        replicate.cost = before + replicate.cost
