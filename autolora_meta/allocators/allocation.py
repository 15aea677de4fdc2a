"""Allocation: the ranks that an allocator chose, and what choosing them took."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch

from autolora_meta.allocators.replicate import Allocator, Replicate
from autolora_meta.device import threads
from autolora_meta.hypergradients.products import Cost
from autolora_meta.ranks.pattern import RankPattern

_STATUS, _REFERENCES = Path("/proc/self/status"), Path("/proc/self/clear_refs")


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
        with threads(replicate.config.runtime.threads), _peak(torch.device(device)) as peak:
            started = time.perf_counter()
            pattern = allocator.allocate(replicate)
            seconds = time.perf_counter() - started
        return Allocation(pattern, replicate.cost, seconds, peak[0] if peak else None)
    finally:
        replicate.cost = before + replicate.cost


@contextmanager
def _peak(device: torch.device) -> Iterator[list[int]]:
    """A list that afterwards holds the bytes by which memory rose in the body, where known."""
    peak: list[int] = []
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        loaded = torch.cuda.memory_allocated(device)
        yield peak
        peak.append(torch.cuda.max_memory_allocated(device) - loaded)
    elif device.type == "cpu" and _REFERENCES.exists():
        _REFERENCES.write_text("5")  # the peak of the resident set starts again from here
        loaded = _resident("VmRSS")
        yield peak
        peak.append(max(_resident("VmHWM") - loaded, 0))
    else:
        yield peak


def _resident(field: str) -> int:
    line = next(x for x in _STATUS.read_text().splitlines() if x.startswith(field))
    return int(line.split()[1]) * 1024
