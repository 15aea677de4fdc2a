"""Jobs by submitit, on Slurm or on this machine, as an executor of `concurrent.futures`."""

import os
import signal
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import BrokenExecutor, Future
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Lock, Thread
from typing import Any

import psutil

from autolora_meta.errors import InputError
from autolora_meta.studies.elsewhere.answer import Answer, answer, settle
from autolora_meta.studies.elsewhere.open_futures import OpenFutures
from autolora_meta.studies.elsewhere.package import package
from autolora_meta.studies.elsewhere.slurm_queue import SlurmQueue
from autolora_meta.studies.executor import ProcessDied

_LOOK = 1.0  # seconds from one look at the jobs to the next
_LATE = 15.0  # seconds that a shared folder may take to show the answer of a job that has ended
_LARGEST_ARRAY = 1000  # of a Slurm that is set up as it comes


class _GoesOn:
    """A call that submitit begins again where its time is up, or its node is taken from it.

    A job of a study then goes on from its checkpoint.
    """

    def __call__(self, call: Callable[..., Any], /, *arguments: Any, **named: Any) -> Answer:
        return answer(call, *arguments, **named)

    def checkpoint(self, *arguments: Any, **named: Any) -> Any:
        """Return what is to be submitted in its place."""
        helpers = package("submitit.helpers", "submitit")
        return helpers.DelayedSubmission(self, *arguments, **named)


@dataclass
class _Begun:
    """A job that submitit has taken.

    Args:
        job: of submitit.
        since: when it was submitted, by `time.monotonic`.
        gone: since when it has ended without an answer.
    """

    job: Any
    since: float
    gone: float | None = None


def _call_off(job: Any) -> None:
    job.cancel(check=False)
    process = getattr(job, "_process", None)  # on this machine, where that is a SIGINT
    if process is not None and signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        # A shell's background job: what it starts ignores SIGINT as it does.
        with suppress(psutil.NoSuchProcess):
            tree = psutil.Process(process.pid)
            for one in (*tree.children(recursive=True), tree):
                one.kill()


class SubmititExecutor(OpenFutures):
    """Gives each call to submitit as a job of its own; what is submitted together is one array.

    One thread looks for the answers, which come by files. A job whose process dies ends with
    `ProcessDied`. One whose time is up (`timeout_min`) is submitted again, at most
    `max_num_timeout` times.

    >>> slurm = submitit.AutoExecutor("logs")                             # doctest: +SKIP
    >>> slurm.update_parameters(timeout_min=240, gpus_per_node=1)         # doctest: +SKIP
    >>> table = study.run(SubmititExecutor(slurm))                        # doctest: +SKIP

    Args:
        executor: of submitit, with its parameters; a job has one task. Its folder is seen by all
            machines, and holds pickles: nobody else may write there.
        most: jobs that submitit has at a time; None: as many as there are.

    Raises:
        InputError: submitit is not installed, `executor` runs calls in this process, or `most` is
            no number of jobs.
    """

    def __init__(self, executor: Any, *, most: int | None = None) -> None:
        super().__init__()
        submitit = package("submitit", "submitit")
        inner = getattr(executor, "_executor", executor)  # of an AutoExecutor
        if isinstance(inner, submitit.DebugExecutor):
            raise InputError(
                "submitit's executor 'debug' runs calls in this process; take 'local' or 'slurm'"
            )
        if most is not None and (not isinstance(most, int) or most < 1):
            raise InputError(f"most={most!r} is no number of jobs; give 1 or more, or leave it out")
        self._executor, self._most = executor, most
        self._queue = SlurmQueue() if isinstance(inner, submitit.SlurmExecutor) else None
        self._waiting: deque[tuple[Future[Any], tuple[Any, ...], dict[str, Any]]] = deque()
        self._begun: dict[Future[Any], _Begun] = {}
        self._lock, self._thread = Lock(), None
        self.died = False  # a job has: its log is worth keeping

    def submit(self, call: Callable[..., Any], /, *arguments: Any, **named: Any) -> Future[Any]:
        """Take a call; a future that is cancelled ends its job."""
        future = self._opened()
        with self._lock:
            self._waiting.append((future, (call, *arguments), named))
            if self._thread is None:
                self._thread = Thread(target=self._serve, name="submitit")
                self._thread.start()
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Wait for what was submitted, or call it off."""
        super().shutdown(wait, cancel_futures=cancel_futures)
        if wait and (thread := self._thread):
            thread.join()

    def _serve(self) -> None:
        """Submit and look until nothing is left."""
        try:
            while True:
                time.sleep(_LOOK)  # what is submitted in one go comes together
                self._submit_waiting()
                self._look()
                with self._lock:
                    if not self._waiting and not self._begun:
                        self._thread = None
                        return
        except Exception as error:  # sbatch refuses, a folder is gone, ...
            broken = BrokenExecutor(f"submitit says {type(error).__name__}: {error}")
            with self._lock:
                self._waiting.clear()
                self._thread = None
            for future in list(self._open):
                settle(future, broken)
            for begun in self._begun.values():
                with suppress(OSError):
                    _call_off(begun.job)
            self._begun.clear()

    def _submit_waiting(self) -> None:
        room = _LARGEST_ARRAY if self._most is None else self._most - len(self._begun)
        with self._lock:
            taken = [self._waiting.popleft() for _ in range(min(room, len(self._waiting)))]
        taken = [each for each in taken if not each[0].cancelled()]
        if not taken:
            return
        goes_on = _GoesOn()
        with self._executor.batch():
            jobs = [
                self._executor.submit(goes_on, *arguments, **named) for _, arguments, named in taken
            ]
        for (future, *_), job in zip(taken, jobs, strict=True):
            self._begun[future] = _Begun(job, time.monotonic())

    def _look(self) -> None:
        # A shared folder shows what is new in it to those who list it.
        folders = {begun.job.paths.folder for begun in self._begun.values()}
        files = {folder / name for folder in folders for name in os.listdir(folder)}
        for future, begun in list(self._begun.items()):
            if future.cancelled():
                _call_off(begun.job)
            elif (told := self._told(begun, files)) is not None:
                self.died |= isinstance(told, ProcessDied)
                settle(future, told)
            else:
                continue
            del self._begun[future]

    def _told(self, begun: _Begun, files: set[Path]) -> Answer | Exception | None:
        """Return the answer of a job, or why there will be none; None: not yet."""
        job = begun.job
        if job.paths.result_pickle in files:
            return _answer_of(job)
        gone = self._queue.lacks(job.job_id, begun.since) if self._queue else None
        ended = job.done() if gone is None else gone
        if not ended:
            begun.gone = None
            return None
        begun.gone = begun.gone or time.monotonic()
        if time.monotonic() - begun.gone < _LATE:
            return None
        return ProcessDied(f"{ProcessDied.said}: {_log(job)}")


def _answer_of(job: Any) -> Answer | Exception:
    """Return what a job left; where submitit could not make the call, what it says of that."""
    try:
        return job.result()
    except Exception as error:  # submitit quotes a traceback between two lines
        parts = str(error).split("-" * 22)
        quoted = parts[1] if len(parts) == 3 else parts[0]
        said = (quoted.strip() or type(error).__name__).splitlines()[-1]
        return ProcessDied(f"submitit has no answer ({said}): {_log(job)}")


def _log(job: Any) -> str:
    return f"{job.paths.stderr} has its last words"
