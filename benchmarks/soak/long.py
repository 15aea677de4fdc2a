"""Long searches and many, one adapter and several: memory stays flat, nothing is left behind."""

import gc
import threading
import time
from pathlib import Path
from typing import Any

import psutil
import torch
from torch import Tensor, nn

from autolora_meta.config.run import RunConfig
from autolora_meta.finetuning.lora import layer_costs
from autolora_meta.foundation.progress import Silent
from autolora_meta.hypergradients.methods import METHODS
from autolora_meta.pipeline.prepare import prepare
from autolora_meta.pipeline.program import program_of
from autolora_meta.pipeline.retrain_together import Retraining, retrain_together
from autolora_meta.pipeline.search_model import search_model
from autolora_meta.pipeline.search_together import Replica, search_together
from autolora_meta.ranks.pattern import RankPattern
from benchmarks.soak.line import Line
from tests.end_to_end import tiny_setting

STEPS, EARLY = 2000, 200  # outer steps; memory is compared from the second to the first
MOST = 1.02  # times the memory at the early step
SEARCHES = 50


def soak(seconds: float, seed: int, folder: Path) -> list[Line]:
    """Run a long search by every method, as far as the time goes, and many short ones.

    Args:
        seconds: what it may take, about.
        seed: of the searches.
        folder: to work in.
    """
    end = time.monotonic() + seconds
    flat = Line(f"{STEPS} outer steps of a method, memory within 2% of that at step {EARLY}")
    for method in METHODS:
        if time.monotonic() < end:
            flat.note(_grown(method, seed))
    stacks = Line(f"{STEPS} steps of several adapters in one pass, memory as above")
    for grown in (_retrained, _searched_together):
        stacks.note(grown(folder, seed))
    left = Line(f"{SEARCHES} searches leave no handle, hook, thread or tensor")
    left.note(left_behind(SEARCHES, seed))
    return [flat, stacks, left]


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


class _Memory(Silent):
    """Notes the memory of this process at an early step and at the last."""

    def __init__(self, steps: int) -> None:
        self._left, self.seen = {EARLY, steps}, list[int]()
        self._steps = 0

    def step(self, loss: float | None = None, work: float = 1.0) -> None:
        self._steps += 1
        if self._steps in self._left:
            gc.collect()
            self.seen.append(psutil.Process().memory_info().rss)

    def fault(self, what: str) -> str | None:
        """Return by how much it grew, if it is too much."""
        times = self.seen[-1] / self.seen[0]
        return f"{what}: {times:.3f} times the memory" if times > MOST else None


def _config(folder: Path, *changes: str) -> RunConfig:
    tiny = tiny_setting(folder / "stacks")
    return RunConfig.load(str(tiny.config), *changes)


def _retrained(folder: Path, seed: int) -> str | None:
    config, memory = _config(folder, f"retrain.steps={STEPS}"), _Memory(STEPS)
    prepared = prepare(config, seed)
    names = program_of(config, prepared, seed).targets().names
    ranks = RankPattern(
        names, (1,) * len(names), layer_costs(prepared.model, names), config.lora.k, 2.0
    )
    several = [Retraining(config, ranks, seed + number, prepared) for number in range(4)]
    retrain_together(several, progress=memory)
    return memory.fault("retraining")


def _searched_together(folder: Path, seed: int) -> str | None:
    changes = f"search.outer_steps={STEPS}", "search.warmup_steps=0"
    config, memory = _config(folder, *changes), _Memory(STEPS)
    replicas = [Replica(config, seed + n, prepare(config, seed + n)) for n in range(4)]
    search_together(replicas, progress=memory)
    return memory.fault("search")


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
