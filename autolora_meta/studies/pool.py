"""The processes of this machine that run jobs, and the progress that they tell."""

import os
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing.managers import SyncManager
from typing import Any

import torch

from autolora_meta.config.run import RunConfig
from autolora_meta.foundation.progress import Progress, Sender, Share, Silent, listening
from autolora_meta.studies.executor import Ended, Job, run_jobs
from autolora_meta.studies.main_guard import import_failed
from autolora_meta.studies.orphans import Tied

_progress: Progress = Silent()  # of the process that runs a job


def whole_progress() -> Progress:
    """Told of every step of this process's jobs; silent outside `local_pool`."""
    return _progress


def progress_of(work: float) -> Share:
    """Progress of one part of a job.

    Args:
        work: its share, in plain steps.
    """
    return Share(_progress, work)


def _start(threads: int, queue: Any) -> None:
    global _progress
    torch.set_num_threads(threads)
    _progress = Sender(queue)


@contextmanager
def local_pool(config: RunConfig, progress: Progress) -> Iterator[ProcessPoolExecutor]:
    """A pool of fresh processes, which are stopped at once when the body fails.

    Raises:
        InputError: they cannot import the main module.
    """
    context = Tied()  # spawned: a forked torch hangs in its thread pool
    workers = config.runtime.workers
    if not workers:
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
        cpu = config.runtime.resolved_device == "cpu"
        workers = max(1, (cores or 1) // config.runtime.threads) if cpu else 1
    manager = SyncManager(ctx=context)
    try:
        manager.start()
    except (EOFError, ConnectionError):
        raise import_failed() from None
    with manager:
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


def ended_jobs(
    jobs: Sequence[Job], executor: Executor | None, base: RunConfig, progress: Progress
) -> Iterator[Ended]:
    """Run jobs with progress, and yield how each ended.

    Args:
        jobs: of a study.
        executor: takes them; None: processes of this machine.
        base: whose `runtime` says how many.
        progress: told of every step here, of every job elsewhere.
    """
    left = sum(job.work for job in jobs)

    @contextmanager
    def here() -> Iterator[Executor]:
        progress.start("runs of the study", left)
        with local_pool(base, progress) as pool:
            yield pool

    if executor is not None:
        progress.start("runs of the study", left)
    try:
        for ended in run_jobs(jobs, executor, here):
            left -= ended.job.work
            if executor is not None or not ended.ran:
                progress.step(None, ended.job.work)
            yield ended
    finally:
        progress.close()
