"""Ctrl-C and SIGTERM that wait for a good moment: work is saved first, then it ends."""

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_AGAIN, _LONGEST = 0.05, 10.0  # seconds


@contextmanager
def answering() -> Iterator[None]:
    """In the body Ctrl-C and SIGTERM, a scheduler's way to say it, raise KeyboardInterrupt.

    Not inside of an import: there it is raised when that is over. Packages take what is raised in
    one for a missing module, so that it would come out as another error, or not at all. What is
    ignored is still ignored. Outside the main thread nothing changes.
    """
    before: dict[int, Any] = {}
    if threading.current_thread() is threading.main_thread():
        before = {number: signal.getsignal(number) for number in _SIGNALS}
    ours = [n for n, h in before.items() if h in (signal.SIG_DFL, signal.default_int_handler)]
    for number in ours:
        signal.signal(number, _interrupt)
    try:
        yield
    finally:
        for number in ours:
            signal.signal(number, before[number])


_came: list[float] = []  # when a signal that waits for the end of an import came first


def _interrupt(number: int, frame: FrameType | None) -> None:
    now = time.monotonic()
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            _came.append(now)
            if now - _came[0] > _LONGEST:  # a whole program may run inside of an import
                break
            later = threading.Timer(_AGAIN, signal.raise_signal, [number])
            later.daemon = True
            later.start()
            return
        frame = frame.f_back
    _came.clear()
    raise KeyboardInterrupt


class Stop:
    """A signal that may have come."""

    def __init__(self) -> None:
        self._came: list[int] = []
        self._held: dict[int, Any] = {}

    @property
    def asked(self) -> bool:
        """Whether it has come."""
        return bool(self._came)

    def now(self) -> None:
        """Let it have the effect that it would have had, if it has come."""
        if self._came:
            signal.raise_signal(self._came.pop())

    def _hold(self, number: int) -> None:
        # None: the handler is not Python's, and could not be put back.
        if (handler := signal.getsignal(number)) not in (signal.SIG_IGN, None):
            self._held[number] = handler
            signal.signal(number, self._note)

    def _note(self, number: int, frame: object) -> None:
        self._came.append(number)
        self._let_go()

    def _let_go(self) -> None:
        for number, handler in self._held.items():
            signal.signal(number, handler)
        self._held.clear()


@contextmanager
def waiting() -> Iterator[Stop]:
    """Hold back the first signal that would end this process; a second one ends it at once.

    What is ignored is still ignored. Outside the main thread nothing is held back. A signal that
    the body has not answered has its effect at the end of it.

    >>> with waiting() as stop:                    # doctest: +SKIP
    ...     for step in steps:
    ...         take(step)
    ...         if stop.asked:
    ...             save()
    ...             stop.now()
    """
    stop = Stop()
    if threading.current_thread() is threading.main_thread():
        for number in _SIGNALS:
            stop._hold(number)
    try:
        yield stop
    finally:
        stop._let_go()
        stop.now()
