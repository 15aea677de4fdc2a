"""Jobs that need each other, run by any executor; one that fails stops only what needs it.

Jobs may share a pass (`Together`): then one call does several of them, a bundle.
"""

import math
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Executor, Future, wait
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

from autolora_meta.studies.calls import each_readable, readable


@dataclass(frozen=True)
class Together:
    """The pass that a job may share with others.

    What a bundle holds hangs on the job's place among all that could share it, and not on which of
    them have ended: a study that goes on makes the bundles that it made before.

    Args:
        key: jobs of equal keys may share a pass.
        call: does several: given a list of their `arguments` it returns for each, in order, what
            its own call returns, or the exception that this would raise. It pickles.
        number: of the job among all of the key, from 0, those that have ended included.
        count: how many those are.
    """

    key: str
    call: Callable[[Sequence[tuple[Any, ...]]], Sequence[Any]]
    number: int
    count: int

    def part(self, most: int, workers: int) -> int:
        """Return the number of the bundle that the job is in: all are of nearly one size.

        Args:
            most: jobs of a bundle.
            workers: that are to have work, where there is enough of it.

        >>> [Together("k", list, number, 5).part(most=2, workers=1) for number in range(5)]
        [0, 0, 1, 1, 2]
        """
        parts = max(math.ceil(self.count / most), min(workers, self.count))
        return self.number * parts // self.count


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
        together: the pass that it may share; None: none.
    """

    key: str
    call: Callable[..., Any]
    arguments: tuple[Any, ...] = ()
    needs: frozenset[str] = frozenset()
    work: float = 0.0
    if_killed: str = ""
    together: Together | None = None


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
        more: others of its bundle follow at once.
    """

    job: Job
    value: Any = None
    error: str | None = None
    failure: Exception | None = None
    ran: bool = True
    more: bool = False


Bundle = tuple[Job, ...]  # what one call does


def one_at_a_time(job: Job) -> int:
    """Return how many jobs may share the pass of this one: none does."""
    return 1


def run_jobs(
    jobs: Sequence[Job],
    executor: Executor | None,
    pool: Callable[[], AbstractContextManager[Executor]],
    most: Callable[[Job], int | None] = one_at_a_time,
) -> Generator[Ended, None, None]:
    """Run every job, each as soon as those that it needs are done.

    A process of our own pool that dies (out of memory, killed) breaks the pool: it is opened again,
    and what was running is tried once more, one at a time, so that the one at fault fails alone. Of
    a bundle that fails so, each job is then tried by itself. A broken executor of somebody else's
    is theirs to open again; one that outlives a process that dies (`ProcessDied`) loses what that
    did alone.

    Args:
        jobs: with distinct keys, in the order in which they are to begin.
        executor: takes all jobs at once; None: those of `pool` are used, a job for each process.
        pool: opens a process pool.
        most: how many jobs may share the pass of a job; None: that is not known yet, but will be
            when the jobs have ended that do not wait for it.

    Yields:
        How each job ended, as it ends; the jobs of a bundle one after the other.

    Raises:
        concurrent.futures.BrokenExecutor: `executor` is broken.
    """
    waiting = {job.key: job for job in jobs}
    failed: dict[str, str] = {}
    suspects, apart = set[str](), set[str]()  # keys
    while waiting:
        running: dict[Future[Any], Bundle] = {}
        used = False
        try:
            with nullcontext(executor) if executor else pool() as workers:
                room = len(jobs) if executor else getattr(workers, "_max_workers", 1)
                shares = _Shares(most, 1 if executor else room, apart)
                while waiting or running:
                    yield from _in_vain(waiting, failed)
                    ready = _ready(waiting, running, suspects, shares)
                    for bundle in ready[: (1 if suspects else room) - len(running)]:
                        running[_submitted(workers, bundle, waiting)] = bundle
                        used = True
                    done = wait(running, return_when=FIRST_COMPLETED).done
                    for future in sorted(done, key=_broken):  # what was finished first
                        bundle = running[future]
                        if len(bundle) > 1 and isinstance(future.exception(), ProcessDied):
                            apart |= {job.key for job in bundle}
                            waiting |= {job.key: job for job in running.pop(future)}
                            continue
                        every = _ended(future, bundle)
                        del running[future]
                        suspects -= {ended.job.key for ended in every}
                        failed |= {one.job.key: one.error for one in every if one.error is not None}
                        yield from every
        except BrokenExecutor:
            begun = list(running.values())
            if executor is not None or not used:
                raise
            if (fault := _fault(begun)) is not None:
                failed[fault.job.key] = fault.error or ""
                suspects.discard(fault.job.key)
                yield fault
                continue
            again = {job.key: job for bundle in begun for job in bundle}
            suspects |= again.keys()
            apart |= again.keys() if len(begun) == 1 else set()
            waiting = again | waiting
        finally:
            for future in running:  # of somebody else's executor, when we are interrupted
                future.cancel()


def _fault(begun: Sequence[Bundle]) -> Ended | None:
    """Return how the job ended whose process died; None if it may have been another's fault."""
    if len(begun) != 1 or len(begun[0]) != 1:
        return None
    (job,) = begun[0]
    return Ended(job, error=_died(job, ProcessDied.said))


def _submitted(workers: Executor, bundle: Bundle, waiting: dict[str, Job]) -> Future[Any]:
    """Give a bundle to the workers; its jobs wait no longer."""
    first, *others = bundle
    if not others or first.together is None:
        future = workers.submit(readable, first.call, *first.arguments)
    else:
        every = [job.arguments for job in bundle]
        future = workers.submit(each_readable, first.together.call, every)
    for job in bundle:
        del waiting[job.key]
    return future


@dataclass(frozen=True)
class _Shares:
    """Which jobs share a pass.

    Args:
        most: how many may share that of a job; None: not known yet.
        workers: that are to have work.
        apart: keys of jobs that are tried by themselves.
    """

    most: Callable[[Job], int | None]
    workers: int
    apart: set[str]

    def bundles(self, jobs: Iterable[Job]) -> list[Bundle]:
        """Return the jobs in bundles; those of which it is not known yet are left out."""
        found: dict[object, list[Job]] = {}
        for job in jobs:
            most = 1 if job.together is None or job.key in self.apart else self.most(job)
            if most is None:
                continue
            name: object = job.key
            if job.together is not None and most > 1:
                name = job.together.key, job.together.part(most, self.workers)
            found.setdefault(name, []).append(job)
        return [tuple(bundle) for bundle in found.values()]


def _ready(
    waiting: Mapping[str, Job],
    running: Mapping[Future[Any], Bundle],
    suspects: set[str],
    shares: _Shares,
) -> list[Bundle]:
    """What may begin; what is under suspicion first, and then nothing beside it."""
    open_keys = {*waiting, *(job.key for bundle in running.values() for job in bundle)}
    ready = [
        bundle
        for bundle in shares.bundles(waiting.values())
        if not any(job.needs & open_keys for job in bundle)
    ]
    if suspects:
        return [bundle for bundle in ready if any(job.key in suspects for job in bundle)]
    return ready


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


def _ended(future: Future[Any], bundle: Bundle) -> list[Ended]:
    """How each job of a bundle ended; only a broken executor's error is raised."""
    try:
        found = future.result()
    except BrokenExecutor:
        raise
    except ProcessDied as death:
        return [
            Ended(job, error=_died(job, str(death)), more=job is not bundle[-1]) for job in bundle
        ]
    except Exception as error:
        found = [error] * len(bundle)
    else:
        found = found if len(bundle) > 1 else [found]
    last = len(bundle) - 1
    return [
        Ended(job, error=f"{type(one).__name__}: {one}", failure=one, more=number < last)
        if isinstance(one, Exception)
        else Ended(job, one, more=number < last)
        for number, (job, one) in enumerate(zip(bundle, found, strict=True))
    ]


def _died(job: Job, said: str) -> str:
    return f"{said}; {job.if_killed}" if job.if_killed else said
