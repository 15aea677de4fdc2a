"""Places on disk to write to: checked before the work, and whole after it."""

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from glob import escape
from pathlib import Path
from platform import node
from tempfile import mkdtemp

import psutil

from autolora_meta.errors import InputError

# What is written below a folder has names of its own, and stands beside its place until then.
_BELOW = Path("x" * 80, "x" * 80)
_TRIED = "autolora-tried"
_BESIDE = f".{{}}-9999999@{node()}-xxxxxxxx"


def unused(place: str | Path, option: str = "--output") -> Path:
    """Return `place` if nothing is there and a file or folder can be made there.

    Args:
        place: of a file or folder.
        option: the option that names it, for the message.

    Raises:
        InputError: something is there, or nothing can be made there.
    """
    if os.path.lexists(place):
        raise InputError(
            f"{place} exists, and finished work is not overwritten; give another {option}"
        )
    return writable(place, option)


def writable(place: str | Path, option: str = "--output") -> Path:
    """Return `place` if a file or folder can be made there, with the folders above it.

    This makes folders of the same names beside it, and removes them.

    Args:
        place: of a file or folder; what is there already does not matter.
        option: the option that names it, for the message.

    Raises:
        InputError: it cannot be made; the message gives the reason.
    """
    whole = Path(os.path.abspath(place))
    above = whole.parent
    while not os.path.lexists(above):
        above = above.parent
    reason = None
    if not above.is_dir():
        kind = "a file" if above.exists() else "a link to nothing"
        reason = f"{above} is {kind}; give a folder"
    try:
        if reason is None:
            sweep(above, _TRIED)
            with scratch(above, _TRIED) as tried:
                inner = whole.parent.relative_to(above) / _BESIDE.format(whole.name) / _BELOW
                (tried / inner).mkdir(parents=True)
    except (OSError, ValueError) as error:
        reason = f"{getattr(error, 'strerror', None) or error} (tried in {above})"
    if reason is not None:
        raise InputError(f"nothing can be written to {place}: {reason}; give another {option}")
    return Path(place)


def replace_text(file: Path, text: str) -> None:
    """Write a text file as `replace_bytes` does."""
    replace_bytes(file, text.encode())


def replace_bytes(file: Path, content: bytes) -> None:
    """Write a file atomically: a reader finds the old content or the new one, never a part.

    A symbolic link at its place is replaced, and not followed.
    """
    beside = file.with_name(_begun(file.name) + "content")
    try:
        beside.unlink(missing_ok=True)
        with naming(file), beside.open("xb") as opened:
            opened.write(content)
            opened.flush()
            os.fsync(opened.fileno())
        beside.replace(file)
    finally:
        beside.unlink(missing_ok=True)


def usual_permissions(place: Path) -> None:
    """Give a file, or all files in a folder, the permissions that the umask gives to new ones.

    Some libraries write files that only their owner may read.
    """
    with scratch(place.parent) as made:
        (made / "new").touch()
        usual = (made / "new").stat().st_mode
    for file in [place, *place.rglob("*")]:
        if file.is_file() and not file.is_symlink():
            file.chmod(usual)


@contextmanager
def naming(place: Path) -> Iterator[None]:
    """Add the place to an error of the body that says of a disk what is wrong, and not where."""
    try:
        yield
    except OSError as error:
        if error.errno is not None and error.filename is None:
            error.filename = str(place)
        raise


@contextmanager
def scratch(folder: Path, name: str = "autolora") -> Iterator[Path]:
    """Give a new folder, which is removed when the body ends, or by `sweep` after a kill.

    Args:
        folder: what it is made in.
        name: what it is for; part of its own name.
    """
    made = Path(mkdtemp(prefix=_begun(name), dir=folder))
    try:
        yield made
    finally:
        shutil.rmtree(made, ignore_errors=True)


@contextmanager
def becomes(place: Path) -> Iterator[Path]:
    """Give a path to write to, which becomes `place` when the body ends: whole, or not at all.

    Two processes may write the same place at a time. Equal work leaves equal files, so what is
    there first is kept.

    Args:
        place: of a file or a folder, which is not there yet.
    """
    place.parent.mkdir(parents=True, exist_ok=True)
    with scratch(place.parent, place.name) as made:
        yield made / place.name
        try:
            (made / place.name).rename(place)
        except OSError:
            if not place.exists():
                raise


def sweep(folder: Path, name: str = "") -> None:
    """Remove the half-done work of processes of this machine that are no more.

    Args:
        folder: what the places are in.
        name: of the one place; empty: all.
    """
    for left in folder.glob(f".{escape(name)}*@*-*"):
        worker = re.fullmatch(r"\.(.+)-(\d+)@(.+)-[^-]+", left.name)
        if worker is None or worker[3] != node() or name not in ("", worker[1]):
            continue
        if not psutil.pid_exists(int(worker[2])):
            shutil.rmtree(left, ignore_errors=True)
            with suppress(OSError):
                left.unlink(missing_ok=True)


def _begun(name: str) -> str:
    """Return how the name of half-done work begins: `sweep` knows by it who does it."""
    return f".{name}-{os.getpid()}@{node()}-"
