"""Steps a second of several processes side by side, as a pool of workers takes them."""

import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from threading import Barrier

import torch

Step = Callable[[], object]
WARM_UP, PATIENCE = 3, 600.0  # steps; seconds until the slowest process is ready
_gate: Barrier


def steps_a_second(make: Callable[[], Step], processes: int, steps: int) -> float:
    """Return the steps that all processes take in a second, while all of them do.

    Args:
        make: gives a function that takes a step; called in each process, so it must pickle.
        processes: each has one thread, as a worker of a study.
        steps: of each that are timed.
    """
    context = get_context("spawn")
    gate = context.Barrier(processes)
    with ProcessPoolExecutor(processes, context, _begin, (gate,)) as pool:
        each = [pool.submit(_rate, make, steps) for _ in range(processes)]
        return sum(one.result() for one in each)


def _begin(gate: Barrier) -> None:
    global _gate
    _gate = gate
    torch.set_num_threads(1)


def _rate(make: Callable[[], Step], steps: int) -> float:
    """Return the steps a second of this process, from when all are ready."""
    step = make()
    for _ in range(WARM_UP):
        step()
    _synchronise()
    _gate.wait(PATIENCE)
    start = time.perf_counter()
    for _ in range(steps):
        step()
    _synchronise()
    return steps / (time.perf_counter() - start)


def _synchronise() -> None:
    if torch.cuda.is_initialized():
        torch.cuda.synchronize()
