"""The processes of this machine that run jobs, and the progress that they tell."""

import os
import socket as socketlib
import sys
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing.managers import SyncManager
from pathlib import Path
from tempfile import gettempdir
from typing import Any

import torch

from autolora_meta.config.run import RunConfig
from autolora_meta.config.runtime import RuntimeOptions
from autolora_meta.errors import InputError
from autolora_meta.foundation import processes
from autolora_meta.foundation.places import scratch, sweep
from autolora_meta.foundation.progress import Progress, Sender, Share, Silent, Steps, listening
from autolora_meta.studies.executor import Ended, Job, one_at_a_time, run_jobs
from autolora_meta.studies.main_guard import import_failed
from autolora_meta.studies.orphans import Tied

_NAME = "autolora"  # of its temporary folders
_LONGEST_SOCKET = 100  # bytes of a path; systems take 104 or 108

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


def workers_here(runtime: RuntimeOptions) -> int:
    """Return how many processes of this machine run jobs side by side."""
    if runtime.workers:
        return runtime.workers
    if runtime.resolved_device != "cpu":
        return 1
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return max(1, (cores or 1) // runtime.threads)


@contextmanager
def local_pool(config: RunConfig, progress: Progress) -> Iterator[ProcessPoolExecutor]:
    """A pool of fresh processes, which are stopped at once when the body fails.

    Raises:
        InputError: they cannot import the main module, or have nowhere to wait for each other.
    """
    context = Tied()  # spawned: a forked torch hangs in its thread pool
    workers = workers_here(config.runtime)
    with _manager(context) as manager:
        queue = manager.Queue()
        with listening(queue, progress):
            pool = _pool(workers, context, (config.runtime.threads, queue))
            try:
                yield pool
            except BaseException:
                _stop(pool)
                raise
            finally:
                pool.shutdown(wait=True, cancel_futures=True)


class _Here(Executor):
    """Runs each job in this process, at once: one of several that share out all its work."""

    _max_workers = 1  # as `run_jobs` asks it

    def submit(  # pyright: ignore[reportIncompatibleMethodOverride]
        self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any
    ) -> Future[Any]:
        """Return the future of a call that has ended.

        Raises:
            Lost: another of the processes has ended; there is no going on.
        """
        future: Future[Any] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except processes.Lost:
            raise
        except Exception as error:
            future.set_exception(error)
        return future


@contextmanager
def _in_this_process(progress: Progress) -> Iterator[Executor]:
    """Run jobs here, with their own steps as progress."""
    global _progress
    _progress = Steps(progress)
    try:
        yield _Here()
    finally:
        _progress = Silent()


@contextmanager
def _manager(context: Tied) -> Iterator[SyncManager]:
    """Start the process that holds queues; its socket is in a folder that `sweep` knows."""
    sweep(temporary := Path(gettempdir()), _NAME)
    with scratch(temporary, _NAME) as folder:
        socket = str(folder / "s")
        fits = hasattr(socketlib, "AF_UNIX") and len(os.fsencode(socket)) <= _LONGEST_SOCKET
        manager = SyncManager(socket if fits else None, ctx=context)
        try:
            manager.start()
        except (EOFError, ConnectionError):
            raise import_failed() from None
        with manager:
            yield manager


def _pool(workers: int, context: Tied, about: tuple[Any, ...]) -> ProcessPoolExecutor:
    try:
        return ProcessPoolExecutor(workers, context, initializer=_start, initargs=about)
    except (OSError, NotImplementedError) as error:  # no place for its semaphores
        reason = getattr(error, "strerror", None) or error
        raise InputError(
            f"worker processes cannot wait for each other here ({reason}): make room in /dev/shm, "
            "and let it be written to (docker run --shm-size=64m)"
        ) from error


def _stop(pool: ProcessPoolExecutor) -> None:
    """End the pool's processes; else an error would wait for the jobs beside it."""
    if sys.version_info >= (3, 14):
        pool.terminate_workers()
        return
    for process in list(pool._processes.values()):
        process.terminate()


def ended_jobs(
    jobs: Sequence[Job],
    executor: Executor | None,
    base: RunConfig,
    progress: Progress,
    most: Callable[[Job], int | None] = one_at_a_time,
) -> Generator[Ended, None, None]:
    """Run jobs with progress, and yield how each ended.

    Args:
        jobs: of a study.
        executor: takes them; None: processes of this machine.
        base: whose `runtime` says how many.
        progress: told of every step here, of every job elsewhere.
        most: how many may share the pass of a job (`run_jobs`).
    """
    left = sum(job.work for job in jobs)

    @contextmanager
    def here() -> Iterator[Executor]:
        progress.start("runs of the study", left)
        shared = processes.launched() > 1
        with _in_this_process(progress) if shared else local_pool(base, progress) as pool:
            yield pool

    if executor is not None:
        progress.start("runs of the study", left)
    try:
        for ended in run_jobs(jobs, executor, here, most):
            left -= ended.job.work
            if executor is not None or not ended.ran:
                progress.step(None, ended.job.work)
            yield ended
    finally:
        progress.close()
