"""Names of models and data: a path on this machine, or an id of the hub."""

import difflib
import os
import re
from collections.abc import Callable, Iterable
from pathlib import Path

_ID = re.compile(r"[\w-][\w.-]*(/[\w.-]+)?")
_LONGEST = 96  # letters of an id, by the hub's rules
_SHOWN = 8  # names of a folder, at most


def could_be_id(name: str) -> bool:
    """Return whether `name` has the form of a hub id, `name` or `owner/name`, and is not a path.

    A name below a folder that exists is a path: `models/mine` is not an id if there is a folder
    `models`. So a mistyped path is not looked up on the hub.

    >>> could_be_id("FacebookAI/roberta-base"), could_be_id("../models/mine")
    (True, False)
    """
    if len(name) > _LONGEST or _ID.fullmatch(name) is None:
        return False
    return "/" not in name or not os.path.isdir(os.path.dirname(name))


def path_of(name: str) -> Path:
    """Return `name` as an absolute path, with the home folder in place of `~`."""
    return Path(os.path.abspath(os.path.expanduser(name)))


def is_slip_of(name: str, known: Iterable[str]) -> str | None:
    """Return the known name that a bare `name` is most likely a misspelling of, or None.

    A name that only adds a part after a hyphen is taken for another name.

    >>> is_slip_of("embeded-minilm", ["embedded-minilm"])
    'embedded-minilm'
    """
    near = [] if "/" in name else difflib.get_close_matches(name, known, n=1, cutoff=0.85)
    for found in near:
        short, long = sorted((name, found), key=len)
        if not (long.startswith(short) and long[len(short) :][:1] in tuple("-_.")):
            return found
    return None


def slip_in_path(name: str, fits: Callable[[str], bool]) -> str | None:
    """Return the local path that `name`, of the form of a hub id, most likely misspells, or None.

    Args:
        name: the name.
        fits: path -> whether it is of the wanted kind.
    """
    found = Path()
    for part in name.split("/"):
        here = os.path.lexists(found / part)
        near = part if here else is_slip_of(part, names_in(found))
        if near is None:
            return None
        found = found / near
    return str(found) if fits(str(found)) else None


def nearest(name: str, fits: Callable[[str], bool], kind: str) -> str:
    """Return a hint for a path that does not exist.

    Each missing part is taken for the most similar name in its folder.

    Args:
        name: the path.
        fits: path -> whether it is of the wanted kind.
        kind: name of that kind.

    Returns:
        "did you mean ...?", or what its folder holds.
    """
    whole = path_of(name)
    parts = list(whole.parts[1:])
    found = Path(whole.anchor)
    while parts and os.path.isdir(found):
        part = parts.pop(0)
        here = os.path.lexists(found / part)
        near = [part] if here else difflib.get_close_matches(part, names_in(found), n=1)
        if not near:
            break
        found = found / near[0]
        if not parts and fits(str(found)):
            return f"did you mean '{_as_given(found, name)}'?"
    above = whole.parent
    while not above.is_dir():
        above = above.parent
    held = [other for other in names_in(above) if fits(str(above / other))]
    shown = ", ".join(held[:_SHOWN]) + (", ..." if len(held) > _SHOWN else "")
    return f"'{_as_given(above, name)}' holds {shown or f'no {kind}'}"


def names_in(folder: str | Path) -> list[str]:
    """Return the names in a folder without hidden ones; none if it cannot be read."""
    try:
        return sorted(name for name in os.listdir(folder) if not name.startswith("."))
    except OSError:  # it may not be read
        return []


def _as_given(path: Path, name: str) -> str:
    """Return `path` in the form of `name`: absolute, or relative to the working folder."""
    return str(path) if name.startswith(("/", "~")) else os.path.relpath(path)
