"""The manifest of a folder: a hash of each file, by which damage is found."""

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

from pydantic import StringConstraints

from autolora_meta.errors import InputError
from autolora_meta.foundation.json_files import read_json
from autolora_meta.foundation.places import replace_text

FILE = Path("search", "manifest.json")
_Hash = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]


def seal(folder: Path, names: Iterable[str]) -> None:
    """Write the hashes of files, as they stand, into the manifest of their folder.

    Args:
        folder: of the files.
        names: paths below it.
    """
    held = {name: _hash(folder / name) for name in sorted(names)}
    replace_text(folder / FILE, json.dumps(held, indent=1) + "\n")


def unseal(folder: Path) -> None:
    """Remove the manifest of a folder whose files are about to change."""
    (folder / FILE).unlink(missing_ok=True)


def seal_again(folder: Path, name: str) -> None:
    """Write the hash of a file that was rewritten, if its folder has a manifest of it."""
    if name in (held := _held(folder)):
        replace_text(
            folder / FILE, json.dumps(held | {name: _hash(folder / name)}, indent=1) + "\n"
        )


def refuse_damaged(folder: Path, again: str, *names: str) -> None:
    """Refuse files that are no longer what was written; a folder without manifest is taken.

    Files that are missing are for their readers to name.

    Args:
        folder: of the files.
        again: what a damaged file can be made from, for the message.
        names: paths below it of the files that are read.

    Raises:
        InputError: a file is damaged; the message names it.
    """
    for name, known in _held(folder).items():
        file = folder / name
        if name in names and file.is_file() and _hash(file) != known:
            raise InputError(
                f"{file} is damaged: it is not what was written there (by {folder / FILE}); {again}"
            )


def _held(folder: Path) -> dict[str, str]:
    file = folder / FILE
    again = "where the other files of the folder are whole, remove this one"
    return read_json(file, dict[str, _Hash], again=again) if file.is_file() else {}


def _hash(file: Path) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()
