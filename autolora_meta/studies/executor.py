"""Jobs that need each other, run by any executor; one that fails stops only what needs it."""

import pickle
import traceback
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Executor, Future, wait
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Job:
    """A call that another process may make.

    Args:
        key: its name.
        call: a function that pickles.
        arguments: what it is called with; they pickle too.
        needs: keys of the jobs that come first; one that is not among the jobs counts as done.
        work: plain steps, for progress.
        if_killed: what to do about it, where its process dies.
    """

    key: str
    call: Callable[..., Any]
    arguments: tuple[Any, ...] = ()
    needs: frozenset[str] = frozenset()
    work: float = 0.0
    if_killed: str = ""


class ProcessDied(Exception):
    """The process of one job ended without an answer; what runs the other jobs goes on.

    An executor sets it as the exception of the job's future.
    """

    said = "its process died (killed, or out of memory)"


@dataclass(frozen=True)
class Ended:
    """How a job ended.

    Args:
        job: the job.
        value: what its call gave; None where it failed.
        error: why it failed, in a line; None where it did not.
        failure: what its call raised; None where it did not fail, or its process died.
        ran: it was begun; what a failed job would have served is not.
    """

    job: Job
    value: Any = None
    error: str | None = None
    failure: Exception | None = None
    ran: bool = True


def run_jobs(
    jobs: Sequence[Job],
    executor: Executor | None,
    pool: Callable[[], AbstractContextManager[Executor]],
) -> Generator[Ended, None, None]:
    """Run every job, each as soon as those that it needs are done.

    A process of our own pool that dies (out of memory, killed) breaks the pool: it is opened again,
    and the jobs that were running are tried once more, one at a time, so that the one at fault
    fails alone. A broken executor of somebody else's is theirs to open again; one that outlives a
    process that dies (`ProcessDied`) loses that job alone.

    Args:
        jobs: with distinct keys, in the order in which they are to begin.
        executor: takes all jobs at once; None: those of `pool` are used, a job for each process.
        pool: opens a process pool.

    Yields:
        How each job ended, as it ends.

    Raises:
        concurrent.futures.BrokenExecutor: `executor` is broken.
    """
    waiting = {job.key: job for job in jobs}
    failed: dict[str, str] = {}
    suspects: set[str] = set()
    while waiting:
        running: dict[Future[Any], Job] = {}
        used = False
        try:
            with nullcontext(executor) if executor else pool() as workers:
                room = len(jobs) if executor else getattr(workers, "_max_workers", 1)
                while waiting or running:
                    yield from _in_vain(waiting, failed)
                    ready = _ready(waiting, running, suspects)
                    for job in ready[: (1 if suspects else room) - len(running)]:
                        future = workers.submit(_readable, job.call, *job.arguments)
                        running[future] = waiting[job.key]
                        del waiting[job.key]
                        used = True
                    done = wait(running, return_when=FIRST_COMPLETED).done
                    for future in sorted(done, key=_broken):  # what was finished first
                        ended = _ended(future, running[future])
                        del running[future]
                        suspects.discard(ended.job.key)
                        if ended.error is not None:
                            failed[ended.job.key] = ended.error
                        yield ended
        except BrokenExecutor:
            begun = {job.key: job for job in running.values()}
            if executor is not None or not used:
                raise
            if len(begun) == 1:
                (job,) = begun.values()
                failed[job.key] = _died(job, ProcessDied.said)
                suspects.discard(job.key)
                yield Ended(job, error=failed[job.key])
            elif begun:
                suspects |= begun.keys()
                waiting = begun | waiting
        finally:
            for future in running:  # of somebody else's executor, when we are interrupted
                future.cancel()


def _readable(call: Callable[..., Any], *arguments: Any) -> Any:
    """What the call gives; an error that cannot travel between processes becomes one that can."""
    try:
        return call(*arguments)
    except Exception as error:
        try:
            pickle.loads(pickle.dumps(error))
        except Exception:
            told = RuntimeError(f"{type(error).__name__}: {error}")
            told.add_note("".join(traceback.format_exception(error)))
        else:
            raise
    raise told  # here, where the first error is not its context: that might be pickled with it


def _ready(
    waiting: Mapping[str, Job], running: Mapping[Future[Any], Job], suspects: set[str]
) -> list[Job]:
    """Jobs that may begin; those under suspicion first, and then nothing beside them."""
    open_keys = {*waiting, *(job.key for job in running.values())}
    ready = [job for job in waiting.values() if not job.needs & open_keys]
    return [job for job in ready if job.key in suspects] if suspects else ready


def _in_vain(waiting: dict[str, Job], failed: dict[str, str]) -> Iterator[Ended]:
    """Take out the jobs whose needs have failed."""
    for job in list(waiting.values()):
        for need in sorted(job.needs & failed.keys()):
            del waiting[job.key]
            failed[job.key] = f"what it needs failed: {failed[need]}"
            yield Ended(job, error=failed[job.key], ran=False)
            break


def _broken(future: Future[Any]) -> bool:
    return isinstance(future.exception(), BrokenExecutor)


def _ended(future: Future[Any], job: Job) -> Ended:
    """What the future holds; only a broken executor's error is raised."""
    try:
        return Ended(job, future.result())
    except BrokenExecutor:
        raise
    except ProcessDied as death:
        return Ended(job, error=_died(job, str(death)))
    except Exception as error:
        return Ended(job, error=f"{type(error).__name__}: {error}", failure=error)


def _died(job: Job, said: str) -> str:
    return f"{said}; {job.if_killed}" if job.if_killed else said
