"""Tables of names that other packages may extend: entry points, ours declared in pyproject.toml."""

from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from autolora_meta.errors import InputError, unknown

PROBLEMS = "autolora_meta.problems"
ALLOCATORS = "autolora_meta.allocators"
TASKS = "autolora_meta.tasks"


@cache  # read from the disk, for every run of a study
def _table(group: str) -> dict[str, EntryPoint]:
    return {point.name: point for point in entry_points(group=group)}


def names(group: str) -> list[str]:
    """Return the names registered in `group`, sorted, without importing anything."""
    return sorted(_table(group))


def load(group: str, name: str) -> Any:
    """Import and return the object registered as `name` in `group`.

    Raises:
        InputError: nothing is registered under that name.
    """
    table = _table(group)
    if name not in table:
        raise InputError(unknown(group.rsplit(".", 1)[1].rstrip("s"), name, table))
    return table[name].load()
