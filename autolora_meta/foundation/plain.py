"""Plain values: what a configuration may be made of, whoever made it."""

from collections.abc import Mapping
from typing import Any

from autolora_meta.errors import InputError, shown

DEEPEST = 50  # levels; the deepest option stands on the fourth
LARGEST = 1 << 20  # values and characters, what stands in several places counted in each
_HIGHEST = 2**63  # of whole numbers: torch takes none above it


def refuse_odd(value: object, what: str) -> None:
    """Refuse what no configuration holds, before anything walks through it.

    That is a value inside itself or nested deep, one that grows beyond measure where its parts are
    written out, a whole number of more than 64 bits, and a text that UTF-8 cannot hold.

    Args:
        value: mappings, lists and what they hold.
        what: name of it, for the message.

    Raises:
        InputError: it is such a thing; the message says where.
    """
    known: dict[int, tuple[int, int]] = {}  # by identity: levels below it, and its size

    def measure(value: Any, place: str, depth: int) -> tuple[int, int]:
        if depth > DEEPEST:
            raise InputError(f"{what} is nested too deep, in more than {DEEPEST} levels: {place}")
        if isinstance(value, str):
            _refuse_no_text(value, place or what)
            return 0, len(value)
        if isinstance(value, int) and abs(value) >= _HIGHEST:
            raise InputError(f"{place or what} is too large a number: {shown(value)}")
        if not isinstance(value, Mapping | list | tuple):
            return 0, 1
        if id(value) not in known:
            parts = value.items() if isinstance(value, Mapping) else enumerate(value)
            height, size = 0, 1
            for key, part in parts:
                name = str(key)[:40] if isinstance(key, str | int) else "?"
                below, more = measure(part, f"{place}.{name}" if place else name, depth + 1)
                height, size = max(height, below + 1), size + more + len(name)
                if size > LARGEST:
                    raise InputError(
                        f"{place or what} holds more than {LARGEST:,} values and characters"
                    )
            known[id(value)] = height, size
        height, size = known[id(value)]
        if depth + height > DEEPEST:
            raise InputError(f"{what} is nested too deep, in more than {DEEPEST} levels: {place}")
        return height, size

    measure(value, "", 0)


def _refuse_no_text(value: str, place: str) -> None:
    try:
        value.encode()
    except UnicodeEncodeError:
        raise InputError(f"{place} holds a character that is no text: {shown(value)}") from None
