"""A few steps of a stack, to know what it gains, or how large it may be."""

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from itertools import pairwise

import torch

from autolora_meta.finetuning.retrain import RetrainOptions, retrain
from autolora_meta.finetuning.stacked_jobs import Job
from autolora_meta.finetuning.stacked_retrain import retrain_stacked
from autolora_meta.foundation.memory import peak
from autolora_meta.foundation.progress import Progress, Silent

_ALONE, _TOGETHER = 6, 4  # steps of a trial, of which the first does not count
_SPARE = 0.2  # of the memory: batches differ in length
_BASES = 3  # the base, and a copy in float64 in which rows are looked at


def times_as_fast(job: Job, count: int, dropout: float, device: torch.device | str) -> float:
    """Return how many times as fast jobs are trained in one pass as one at a time, by a trial.

    Args:
        job: a retraining that is like them.
        count: of the jobs.
        dropout: on the input of the adapters.
        device: on which they are trained.

    Raises:
        InputError: they cannot be trained in one pass.
    """
    jobs = [replace(job, options=_short(job, _TOGETHER), seed=job.seed + r) for r in range(count)]
    common = {"dropout": dropout, "device": device}
    short = _short(job, _ALONE)

    def alone(clock: Progress) -> None:
        retrain(job.prepared, job.pattern, short, seed=job.seed, progress=clock, **common)

    def together(clock: Progress) -> None:
        retrain_stacked(jobs, progress=clock, **common)

    # Before and after: where other work slowed all but the stack, it would seem to gain.
    first, all_, last = (
        _seconds(alone, _ALONE),
        _seconds(together, _TOGETHER),
        _seconds(alone, _ALONE),
    )
    return count * min(first, last) / all_


def _short(job: Job, steps: int) -> RetrainOptions:
    return job.options.model_copy(update={"steps": steps})


def most_that_fit(job: Job, most: int, dropout: float, device: torch.device | str) -> int:
    """Return how many jobs fit into the memory of an accelerator at a time, by one step of one.

    Args:
        job: a retraining that is as large as any of them.
        most: how many there are.
        dropout: on the input of the adapters.
        device: the accelerator.
    """
    base = sum(p.numel() * p.element_size() for p in job.prepared.model.parameters())
    with peak(device) as rose:
        _Clock(1).run(
            lambda clock: retrain_stacked([job], dropout=dropout, device=device, progress=clock)
        )
    if not rose:  # of this device nothing is known
        return most
    free = torch.cuda.mem_get_info(device)[0]
    each = max(1, rose[0] - base)
    return max(1, min(most, int(((1 - _SPARE) * free - _BASES * base) / each)))


class _Enough(Exception):
    """Ends a trial."""


class _Clock(Silent):
    """Notes when steps end, and ends the training after some."""

    def __init__(self, steps: int) -> None:
        self._steps, self.ends = steps, list[float]()

    def step(self, loss: float | None = None, work: float = 1.0) -> None:
        self.ends.append(time.perf_counter())
        if len(self.ends) == self._steps:
            raise _Enough

    def run(self, train: Callable[[Progress], object]) -> None:
        """Call `train` with itself."""
        with suppress(_Enough):
            train(self)


def _seconds(train: Callable[[Progress], object], steps: int) -> float:
    """Return the seconds of the fastest step: what runs beside it makes others longer."""
    clock = _Clock(steps)
    clock.run(train)
    return min(after - before for before, after in pairwise(clock.ends))
