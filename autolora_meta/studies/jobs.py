"""The independent jobs of a comparison, and their order: searches first, then what reads them."""

import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from multiprocessing import get_context
from pathlib import Path
from typing import Any, get_args

import torch

from autolora_meta.allocators.allocation import Measured, allocation, measure
from autolora_meta.allocators.replicate import Replicate, allocator
from autolora_meta.bilevel.options import Selection
from autolora_meta.config import RunConfig
from autolora_meta.finetuning.prepare import Prepared
from autolora_meta.finetuning.retrain import RetrainResult
from autolora_meta.progress import Part, Progress, Sender, Silent, listening
from autolora_meta.ranks.pattern import RankPattern
from autolora_meta.retrain import retrain

Keep = Callable[[RetrainResult, RankPattern, Prepared], None]
Job = tuple[str, int, str]  # ("search", seed, selection) or ("retrain", seed, arm)


@dataclass(frozen=True)
class Outcome:
    """What a job leaves, beside its files.

    Args:
        job: which one.
        seconds: wall time of all of it.
        content: what result.json holds; equal runs give equal content.
        measured: of a retraining: `allocation_seconds` and `peak_memory` (bytes, or None) of
            choosing its ranks, searches aside.
    """

    job: Job
    seconds: float
    content: Mapping[str, Any] = field(default_factory=dict)
    measured: Mapping[str, Any] = field(default_factory=dict)


def run_search(config: RunConfig, seed: int, selection: Selection, folder: Path) -> Outcome:
    """One search of one replicate, kept in `folder/seed/selection`."""
    started = time.perf_counter()
    progress = Part(_progress or Silent(), config.search.total_work(selection))
    Replicate(config, seed, folder=folder, progress=progress).search(selection)
    progress.close()
    return Outcome(("search", seed, selection), time.perf_counter() - started)


def run_measure(config: RunConfig, seed: int, arm: str) -> Measured:
    """What one arm measures in one replicate, for every budget."""
    chosen = allocator(arm)
    progress = Part(_progress or Silent(), chosen.work(config))
    found = measure(chosen, Replicate(config, seed, progress=progress))
    progress.close()
    return found


def run_retrain(
    config: RunConfig,
    seed: int,
    arm: str,
    folder: Path,
    keep: Keep | None = None,
    measured: Measured | None = None,
) -> Outcome:
    """Ranks of one arm in one replicate, retrained and tested; result.json says how it went.

    Args:
        keep: called with the retrained model, to save it.
        measured: what the arm measured before (`run_measure`).
    """
    started = time.perf_counter()
    chosen = allocator(arm)
    share = Part(_progress or Silent(), 0.0 if measured else chosen.work(config))
    replicate = Replicate(config, seed, folder=folder, progress=share)
    found = allocation(chosen, replicate, measured)
    share.close()
    pattern, prepared = found.pattern, replicate.prepared
    steps = chosen.retrain_steps(config)
    section = config.retrain.model_copy(update={"steps": steps})
    own = config.model_copy(update={"retrain": section})
    result = retrain(own, pattern, seed=seed, prepared=prepared, progress=_progress)
    if keep is not None:
        keep(result, pattern, prepared)
    content = {
        "arm": arm,
        "seed": seed,
        "parameters": pattern.parameters,
        "ranks": dict(pattern),
        "retrain_steps": steps,
        "cost": asdict(found.spent.cost),
        "metrics": result.metrics,
        "compared": prepared.task.compared,
    }
    place = folder / str(seed) / arm
    place.mkdir(parents=True, exist_ok=True)
    pattern.save(place / "ranks.json")
    (place / "result.json").write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    lines = (json.dumps({"stage": "retrain"} | row) + "\n" for row in result.log)
    (place / "retrain.jsonl").write_text("".join(lines), encoding="utf-8")
    took = {"allocation_seconds": found.spent.seconds, "peak_memory": found.spent.peak_memory}
    return Outcome(("retrain", seed, arm), time.perf_counter() - started, content, took)


def run_all(
    config: RunConfig,
    seeds: Sequence[int],
    folder: Path,
    *,
    progress: Progress,
    keep: tuple[Job, Keep] | None = None,
) -> Iterator[Outcome]:
    """All searches and retrainings of a comparison, side by side where there are workers for it.

    A retraining starts as soon as the searches that its arm reads are done.

    Args:
        config: the run; its arms and its runtime decide what runs where.
        seeds: one replicate each.
        folder: where jobs leave their files.
        progress: told about every step of every job.
        keep: a job, and what is to be done with its retrained model (must pickle).

    Yields:
        The outcome of each job, as it ends.
    """
    arms = config.compare.arms
    bought = config.ranks.rule != "budget"  # every arm may spend what the learned ranks cost
    reads = {arm: set(allocator(arm).searches) | ({"learned"} if bought else set()) for arm in arms}
    needed: list[Selection] = sorted(set().union(*reads.values()), key=get_args(Selection).index)
    waiting: list[Job] = [("retrain", seed, arm) for arm in arms for seed in seeds]
    kept = dict([keep] if keep else [])

    def ready(job: Job, done: set[Job]) -> bool:
        return all(("search", job[1], selection) in done for selection in reads[job[2]])

    each = [allocator(arm).work(config) + allocator(arm).retrain_steps(config) for arm in arms]
    each += [config.search.total_work(selection) for selection in needed]
    progress.start("searches and retrainings", len(seeds) * sum(each))
    with local_pool(config, progress) as pool:
        done: set[Job] = set()
        running: set[Future[Outcome]] = {
            pool.submit(run_search, config, seed, selection, folder)
            for selection in needed
            for seed in seeds
        }
        while running or waiting:
            for job in [job for job in waiting if ready(job, done)]:
                waiting.remove(job)
                _, seed, arm = job
                running.add(pool.submit(run_retrain, config, seed, arm, folder, kept.get(job)))
            finished, running = wait(running, return_when=FIRST_COMPLETED)
            for future in finished:
                outcome = future.result()
                done.add(outcome.job)
                yield outcome


_progress: Progress | None = None  # of the process that runs a job


def _start(threads: int, queue: Any) -> None:
    global _progress
    torch.set_num_threads(threads)
    _progress = Sender(queue)


@contextmanager
def local_pool(config: RunConfig, progress: Progress) -> Iterator[ProcessPoolExecutor]:
    """A pool of fresh processes, which are stopped at once when the body fails."""
    context = get_context("spawn")  # a forked torch hangs in its thread pool
    workers = config.runtime.workers
    if not workers:
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
        cpu = config.runtime.resolved_device == "cpu"
        workers = max(1, (cores or 1) // config.runtime.threads) if cpu else 1
    with context.Manager() as manager:
        queue = manager.Queue()
        with listening(queue, progress):
            pool = ProcessPoolExecutor(
                workers, context, initializer=_start, initargs=(config.runtime.threads, queue)
            )
            try:
                yield pool
            except BaseException:
                _stop(pool)
                raise
            finally:
                pool.shutdown(wait=True, cancel_futures=True)


def _stop(pool: ProcessPoolExecutor) -> None:
    """End the pool's processes; else an error would wait for the jobs beside it."""
    if sys.version_info >= (3, 14):
        pool.terminate_workers()
        return
    for process in list(pool._processes.values()):
        process.terminate()
