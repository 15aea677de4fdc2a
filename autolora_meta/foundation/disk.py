"""A disk that takes no more, told from the errors of every library that writes."""

import errno
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError

from autolora_meta.errors import Unwritten, shown

# What a disk has against writing, and how that is mended.
_MENDED = {
    errno.ENOSPC: "make room on the disk",
    errno.EDQUOT: "make room in your quota",
    errno.EFBIG: "allow larger files (ulimit -f)",
    errno.EROFS: "let the disk be written to",
    errno.EIO: "see what is wrong with the disk",
}
# Libraries that write by themselves tell the number in their words alone.
_TOLD = re.compile(r"\[Errno (\d+)\]|\(os error (\d+)\)")


def unwritten(error: BaseException | None, place: Path | None = None) -> Unwritten | None:
    """Return in one sentence why a disk took no file; None if the error says something else.

    Args:
        error: of any library; what it was raised from is looked at, too.
        place: what was written, for an error that does not name it.
    """
    while error is not None:
        if isinstance(error, Unwritten):
            return error
        if isinstance(error, FileNotFoundError) and "No usable temporary dir" in str(error):
            said = f"{error.strerror}: make room in one, or name another with TMPDIR"
            return Unwritten(said)
        if (number := number_of(error)) in _MENDED:
            # Of a copy the second name is the one that is written.
            names = (getattr(error, name, None) for name in ("filename2", "filename"))
            named = next((name for name in names if isinstance(name, str | bytes)), place or "")
            where = os.fsdecode(named)
            said = f"{shown(where)}: " if where else ""
            return Unwritten(
                f"{said}{os.strerror(number)}{_free(where)}; what has finished is kept: "
                f"{_MENDED[number]}, and give the same command again"
            )
        error = error.__cause__
    return None


@contextmanager
def written_by_others(place: Path) -> Iterator[None]:
    """Name the place where a disk fills in the body, in which a library writes there.

    Raises:
        Unwritten: it does.
    """
    try:
        yield
    except Exception as error:
        if found := unwritten(error, place):
            raise found from error
        raise


def number_of(error: BaseException) -> int:
    """Return the number of an error of the system; 0 if it is none."""
    number = error.errno if isinstance(error, OSError) else None
    if number is None and isinstance(error, OSError | SafetensorError):
        found = _TOLD.search(str(error))
        return int(found[1] or found[2]) if found else 0
    return number or 0


def _free(place: str) -> str:
    """Return how much room is left where a file was to be written."""
    for folder in Path(place).absolute().parents if place else ():
        if folder.is_dir():
            return f" ({shutil.disk_usage(folder).free / 2**20:,.0f} MiB are free in {folder})"
    return ""
