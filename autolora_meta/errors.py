"""What people see instead of a traceback: `InputError`, its kinds, and their wording."""

import difflib
from collections.abc import Iterable, Sequence
from reprlib import Repr


class InputError(ValueError):
    """Input that cannot be used as given.

    The message says what is wrong, what was given, what is allowed and how to mend it. The command
    line prints it without a traceback and ends with `status`.
    """

    status = 2


class WorkFailed(InputError):
    """Work that was begun on sound input and could not be ended, by what it did itself."""

    status = 3


class NotFinite(WorkFailed):
    """A loss or a gradient that is no longer a number: nothing after it can be trusted."""


class Apart(InputError):
    """What one pass over a base cannot serve; one at a time it may be fine."""


class Changed(InputError):
    """What was saved is of other work than what is asked for."""


class OutOfMemory(WorkFailed):
    """Too little memory, of the host or of the device; says what to lower."""


class Unwritten(InputError):
    """A file that a disk does not take: it is full, read-only or damaged."""


def unknown(kind: str, given: object, allowed: Iterable[str], *, meant: Sequence[str] = ()) -> str:
    """Return a sentence about an unknown name: the name, the nearest choice, all choices.

    Args:
        kind: of thing.
        given: the name.
        allowed: the choices.
        meant: what was probably meant, where that is known; by default the choice spelled most
            like it.

    >>> unknown("method", "drats", ["darts", "cg"])
    "unknown method 'drats' (did you mean 'darts'?); allowed: cg, darts"
    """
    names = sorted(allowed)
    near = meant or difflib.get_close_matches(str(given), names, n=1)
    quoted = " or ".join(f"'{name}'" for name in near)
    hint = f" (did you mean {quoted}?)" if near else ""
    return f"unknown {kind} '{given}'{hint}; allowed: {', '.join(names) or 'none'}"


class _Shown(Repr):
    """A repr that is short whatever it is of."""

    def __init__(self) -> None:
        super().__init__()
        self.maxlevel, self.maxstring, self.maxother, self.maxlong = 4, 200, 200, 60
        self.maxdict = self.maxlist = self.maxtuple = 20

    def repr_int(self, x: int, level: int) -> str:
        """Return the digits: Python writes no number of more than 4,300 of them."""
        return super().repr_int(x, level) if abs(x) < 10**60 else "a number of 60 digits or more"


def shown(value: object) -> str:
    """Return the repr of a value for a message, cut where it is long.

    >>> shown("a" * 1000)[:5], len(shown("a" * 1000))
    ("'aaaa", 200)
    """
    return _Shown().repr(value)
