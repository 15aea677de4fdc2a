"""Processes that do not outlive the one that started them; light, for it is imported everywhere."""

import os
import threading
from multiprocessing import parent_process
from multiprocessing.context import SpawnContext, SpawnProcess
from operator import itemgetter
from pathlib import Path
from runpy import run_path
from typing import Any

_TIE = str(Path(__file__).with_name("tie.py"))
_watched = False


def end_with_parent() -> None:
    """End this process when its parent is killed: else it goes on beside the one that resumes.

    For the processes of other people's executors; those of `Tied` have ended before.
    """
    global _watched
    parent = parent_process()
    if parent is not None and not _watched:
        _watched = True
        threading.Thread(target=lambda: (parent.join(), os._exit(1)), daemon=True).start()


class _Name(str):
    """The name of a process: the first that it reads, before it imports the main module."""

    def __reduce__(self) -> Any:
        return itemgetter("name"), (_Run({"name": str(self), "parent": os.getpid()}),)


class _Run:
    """What comes out of the pickle as the variables of `tie.py`, which has run."""

    def __init__(self, variables: dict[str, Any]) -> None:
        self._variables = variables

    def __reduce__(self) -> Any:
        return run_path, (_TIE, self._variables)


class _TiedProcess(SpawnProcess):
    def start(self) -> None:
        self.name = _Name(self.name)
        super().start()


class Tied(SpawnContext):
    """Fresh processes that end with their parent from their first instruction on.

    >>> Tied().Process(target=print, args=("hello",)).start()  # doctest: +SKIP
    """

    Process = _TiedProcess
