"""Jobs that share a pass; a process that runs them imports nothing heavy."""

import os
from collections.abc import Sequence
from typing import Any


def each_half(arguments: Sequence[tuple[Any, ...]]) -> list[Any]:
    """Half of each number, and with how many others it was taken; no half of a text."""
    found: list[Any] = []
    for (number,) in arguments:
        half = (number / 2, len(arguments)) if isinstance(number, int) else TypeError("no number")
        found.append(half)
    return found


def half(number: int) -> tuple[float, int]:
    return number / 2, 1


def dies_for_13(arguments: Sequence[tuple[Any, ...]]) -> list[Any]:
    if (13,) in arguments:
        os._exit(9)
    return each_half(arguments)
