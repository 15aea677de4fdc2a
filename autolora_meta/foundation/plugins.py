"""Tables of names that other packages may extend: entry points, ours declared in pyproject.toml."""

import re
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from autolora_meta.errors import InputError, unknown

PROBLEMS = "autolora_meta.problems"
ALLOCATORS = "autolora_meta.allocators"
TASKS = "autolora_meta.tasks"
FAMILIES = "autolora_meta.allocator_families"  # of allocators, one for each number from 1

_NUMBER = re.compile("[1-9][0-9]{0,4}")


@cache  # read from the disk, for every run of a study
def _table(group: str) -> dict[str, EntryPoint]:
    return {point.name: point for point in entry_points(group=group)}


def names(group: str) -> list[str]:
    """Return the names registered in `group`, sorted, without importing anything."""
    return sorted(_table(group))


def numbered(name: str) -> tuple[str, int] | None:
    """Return family and number of an allocator that is one of many; None of any other name.

    >>> numbered("pattern:3"), numbered("pattern:0"), numbered("uniform")
    (('pattern', 3), None, None)
    """
    family, _, number = name.partition(":")
    if family not in _table(FAMILIES) or not _NUMBER.fullmatch(number):
        return None
    return family, int(number)


def refuse_no_allocator(name: str) -> None:
    """Refuse a name that no allocator has, nor a member of a family.

    Raises:
        ValueError: with what is allowed.
    """
    if name not in (known := names(ALLOCATORS)) and numbered(name) is None:
        raise ValueError(unknown("arm", name, [*known, *(f"{one}:1" for one in names(FAMILIES))]))


def allocator(name: str) -> Any:
    """Import and return the allocator of a name, such as `uniform` or `pattern:3`.

    Raises:
        InputError: there is none.
    """
    if (member := numbered(name)) is not None:
        return load(FAMILIES, member[0])(member[1])
    return load(ALLOCATORS, name)


def load(group: str, name: str) -> Any:
    """Import and return the object registered as `name` in `group`.

    Raises:
        InputError: nothing is registered under that name.
    """
    table = _table(group)
    if name not in table:
        raise InputError(unknown(group.rsplit(".", 1)[1].rstrip("s"), name, table))
    return table[name].load()
