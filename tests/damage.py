"""Damage to what a run writes: other values in JSON, and readers that must take or refuse it."""

import json
from collections.abc import Callable
from typing import Any

from autolora_meta.errors import InputError

# What damage, or a person, may put where a number or a name stands.
WRONG = (None, True, -1, 1.9, float("nan"), 1e30, 10**30, "", "../x", [], {}, [[1]])


def changed(content: Any) -> list[tuple[str, Any]]:
    """Each way to put a wrong value into a place of `content`, or to take the place away."""
    found = []
    text = json.dumps(content)

    def visit(path: list[Any], value: Any) -> None:
        for key in value if isinstance(value, dict) else range(len(value)):
            for wrong in (*WRONG, ...):
                whole = json.loads(text)
                inner = whole
                for part in path:
                    inner = inner[part]
                if wrong is ...:
                    del inner[key]
                else:
                    inner[key] = wrong
                found.append((f"{[*path, key]}: {wrong!r}", whole))
            if isinstance(value[key], dict | list):
                visit([*path, key], value[key])

    visit([], content)
    return found


def survives(read: Callable[[], object]) -> InputError | None:
    """What `read` refuses; anything but an InputError comes through."""
    try:
        read()
    except InputError as error:
        return error
    return None
