"""Long searches and many searches: memory stays flat, and nothing is left behind."""

import gc
import threading
import time
from pathlib import Path
from typing import Any

import psutil
import torch
from torch import Tensor, nn

from autolora_meta.hypergradients.methods import METHODS
from autolora_meta.pipeline.search_model import search_model
from benchmarks.soak.line import Line

STEPS, EARLY = 2000, 200  # outer steps; memory is compared from the second to the first
MOST = 1.02  # times the memory at the early step
SEARCHES = 50


def soak(seconds: float, seed: int, folder: Path) -> list[Line]:
    """Run a long search by every method, as far as the time goes, and many short ones.

    Args:
        seconds: what it may take, about.
        seed: of the searches.
        folder: not used.
    """
    end = time.monotonic() + seconds
    flat = Line(f"{STEPS} outer steps of a method, memory within 2% of that at step {EARLY}")
    for method in METHODS:
        if time.monotonic() < end:
            flat.note(_grown(method, seed))
    left = Line(f"{SEARCHES} searches leave no handle, hook, thread or tensor")
    left.note(left_behind(SEARCHES, seed))
    return [flat, left]


def left_behind(searches: int, seed: int = 0) -> str | None:
    """Return what a number of searches left behind, after a first one; None: nothing."""
    model = _net()
    _searched(model, "darts", seed, 2)
    before = _held(model)
    for number in range(searches):
        _searched(model, [*METHODS][number % len(METHODS)], seed, 2)
    after = _held(model)
    more = [
        f"{after[what] - count} {what}" for what, count in before.items() if after[what] > count
    ]
    return f"{', '.join(more)} after {searches} searches" if more else None


def _grown(method: str, seed: int) -> str | None:
    """Return by how much memory grew from an early step to the last, if it is too much."""
    process, seen = psutil.Process(), {}

    def observe(row: dict[str, Any]) -> None:
        if row["outer_step"] in (EARLY, STEPS):
            gc.collect()
            seen[row["outer_step"]] = process.memory_info().rss

    _searched(_net(), method, seed, STEPS, observe=observe)
    times = seen[STEPS] / seen[EARLY]
    return f"{method}: {times:.3f} times the memory" if times > MOST else None


def _held(model: nn.Module) -> dict[str, int]:
    gc.collect()
    process = psutil.Process()
    hooks = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks")
    return {
        "handles": process.num_fds() if hasattr(process, "num_fds") else 0,
        "threads": threading.active_count(),
        "hooks": sum(len(getattr(part, name)) for part in model.modules() for name in hooks),
        "tensors": sum(issubclass(type(one), Tensor) for one in gc.get_objects()),
    }


def _net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(8, 16), nn.Tanh(), nn.Dropout(0.1), nn.Linear(16, 4))


def _searched(model: nn.Module, method: str, seed: int, steps: int, **more: Any) -> Any:
    draw = torch.Generator().manual_seed(seed)
    rows = [
        (torch.randn(4, 8, generator=draw), torch.randn(4, 4, generator=draw)) for _ in range(8)
    ]

    def loss(model: nn.Module, batch: Any) -> Tensor:
        return (model(batch[0]) - batch[1]).square().mean()

    options = {"outer_steps": steps, "warmup_steps": 1, "hypergradient": method}
    return search_model(
        model, rows, rows[::-1], loss=loss, lora={"k": 2}, options=options, seed=seed, **more
    )
