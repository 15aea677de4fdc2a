"""The lock of a folder: one process at a time works in it, and says who it is."""

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from platform import node
from typing import Any

import psutil
from filelock import FileLock, Timeout
from typing_extensions import TypedDict

from autolora_meta.errors import InputError
from autolora_meta.foundation.json_files import Count, read_json
from autolora_meta.foundation.places import replace_text

LOCK, OWNER = ".lock", ".owner"
FILES = frozenset({LOCK, OWNER})  # of a folder that somebody works in, and no work themselves


class Busy(InputError):
    """Another process works in the folder."""


class _Owner(TypedDict):
    pid: Count
    host: str


@contextmanager
def locked(folder: Path, otherwise: str, *, wait: bool = False) -> Iterator[None]:
    """Be the one process that works in a folder while the body runs.

    The system lets go of the lock when the process ends, however it ends.

    Args:
        folder: it is there.
        otherwise: what else a person can do, for the message.
        wait: for another process that works there, instead of refusing.

    Raises:
        Busy: another process works there; the message says which.
    """
    lock, owner = FileLock(folder / LOCK), folder / OWNER
    try:
        lock.acquire(timeout=-1 if wait else 0)
    except Timeout:
        raise Busy(f"another process is working on {folder}{_named(owner)}; {otherwise}") from None
    try:
        # Not into the lock itself: whoever tries to take that empties it.
        replace_text(owner, json.dumps({"pid": os.getpid(), "host": node()}) + "\n")
        yield
    finally:
        owner.unlink(missing_ok=True)
        lock.release()


def clear(folder: Path) -> None:
    """Remove all that stands in a folder that is locked, but for its lock; links unfollowed."""
    for path in folder.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        elif path.name not in FILES:
            path.unlink()


def _named(file: Path) -> str:
    """Return who works in a folder, in brackets; nothing where that is not known."""
    try:
        owner: Any = read_json(file, _Owner)
    except InputError:  # it has only just begun
        return ""
    here = owner["host"] == node()
    ended = here and not psutil.pid_exists(owner["pid"])
    more = ", which has ended, and left a process that still works" if ended else ""
    return f" (process {owner['pid']} on {owner['host']}{more})"
