"""Ctrl-C and SIGTERM that wait for a good moment: work is saved first, then it ends."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def waiting() -> Iterator[Callable[[Callable[[], None]], None]]:
    """Hold back the first signal that would end this process; a second one ends it at once.

    The body calls what is given, with a function that saves its work, wherever it could end. If a
    signal has come, the work is saved, and the signal has the effect that it would have had. What
    is ignored is still ignored. Outside the main thread nothing is held back.

    >>> with waiting() as end_if_asked:                    # doctest: +SKIP
    ...     for step in steps:
    ...         take(step)
    ...         end_if_asked(save)
    """
    came: list[int] = []
    held: dict[int, Any] = {}

    def let_go() -> None:
        for number, handler in held.items():
            signal.signal(number, handler)
        held.clear()

    def hold(number: int, frame: object) -> None:
        came.append(number)
        let_go()

    def end_if_asked(save: Callable[[], None]) -> None:
        if came:
            save()
            signal.raise_signal(came.pop())

    if threading.current_thread() is threading.main_thread():
        for number in _SIGNALS:
            # None: the handler is not Python's, and could not be put back.
            if (handler := signal.getsignal(number)) not in (signal.SIG_IGN, None):
                held[number] = handler
                signal.signal(number, hold)
    try:
        yield end_if_asked
    finally:
        let_go()
        if came:  # too late to save: the body has ended
            signal.raise_signal(came.pop())
