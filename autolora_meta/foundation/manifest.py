"""The manifest of a folder: a hash of each file that was written there, by which damage is found.

It is a text that `sha256sum -c` reads, too: a line for each file, its SHA-256 and its name.
"""

import hashlib
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from autolora_meta.errors import InputError
from autolora_meta.foundation.places import replace_text

FILE = "manifest-sha256.txt"
AS_IT_IS = f"put back what stood there, or remove {FILE}: the folder is then read as it is"
_LINE = re.compile(r"([0-9a-f]{64})  (.+)")


@contextmanager
def sealing(folder: Path, *names: str) -> Iterator[None]:
    """Write the hashes of files that the body writes into the manifest of their folder.

    While the body runs the manifest does not name them, so that one that is killed leaves files
    without a hash, and none with a wrong one.

    Args:
        folder: of the files; it is there.
        names: paths below it; a file that is not there after the body is not named.

    Raises:
        InputError: the manifest is damaged.
    """
    if others := {name: known for name, known in _held(folder).items() if name not in names}:
        _write(folder, others)
    else:
        (folder / FILE).unlink(missing_ok=True)
    yield
    found = {name: _hash(folder / name) for name in names if (folder / name).is_file()}
    _write(folder, _held(folder) | found)


@contextmanager
def sealing_again(file: Path) -> Iterator[None]:
    """Do as `sealing` for one file, if the manifest of its folder names it."""
    if file.name not in _held(file.parent):
        yield
        return
    with sealing(file.parent, file.name):
        yield


def seal(folder: Path) -> None:
    """Write the hashes of all files that stand in a folder, those below others apart."""
    with sealing(folder, *(file.name for file in folder.iterdir() if file.name != FILE)):
        pass


def write_sealed(folder: Path, files: Mapping[str, str]) -> None:
    """Write texts, each whole or not at all, with their hashes.

    Args:
        folder: it is there.
        files: path below it -> content.
    """
    with sealing(folder, *files):
        for name, text in files.items():
            replace_text(folder / name, text)


def names(folder: Path) -> tuple[str, ...]:
    """Return the paths below a folder of the files whose hashes are known."""
    return tuple(_held(folder))


def whole(file: Path) -> bool:
    """Return whether a file is what was written there; one without a hash is taken to be."""
    known = _held(file.parent).get(file.name)
    return known is None or (file.is_file() and _hash(file) == known)


def refuse_damaged(folder: Path, again: str, *names: str) -> None:
    """Refuse files that are no longer what was written; a file without a hash is taken.

    Args:
        folder: of the files.
        again: what a damaged one can be made from, for the message.
        names: paths below it of the files that are read.

    Raises:
        InputError: a file is damaged or missing, or the manifest is; the message names it.
    """
    for name, known in _held(folder).items():
        if name not in names:
            continue
        file = folder / name
        if not file.is_file():
            raise InputError(f"{file} is missing, and {FILE} beside it names it; {again}")
        if _hash(file) != known:
            raise InputError(
                f"{file} is damaged: it is not what was written there, by {folder / FILE}; {again}"
            )


def _held(folder: Path) -> dict[str, str]:
    """Return name -> hash; empty of a folder without a manifest."""
    file, held = folder / FILE, dict[str, str]()
    if not file.is_file():
        return held
    for number, line in enumerate(file.read_bytes().splitlines(), start=1):
        found = _LINE.fullmatch(line.decode(errors="replace"))
        if found is None:
            raise InputError(
                f"{file}, line {number}, is no hash and name of a file; remove {FILE} if the other "
                "files of the folder are whole"
            )
        held[found[2]] = found[1]
    return held


def _write(folder: Path, held: Mapping[str, str]) -> None:
    lines = (f"{known}  {name}\n" for name, known in sorted(held.items()))
    replace_text(folder / FILE, "".join(lines))


def _hash(file: Path) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()
