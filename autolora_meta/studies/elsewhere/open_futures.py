"""Executors of other systems: futures that we settle, and a shutdown that calls them off."""

from concurrent.futures import Executor, Future
from concurrent.futures import wait as wait_for
from typing import Any


class OpenFutures(Executor):
    """An executor whose futures are settled by what it hears from elsewhere.

    A subclass gives `submit`, and takes a future from `_opened` in it.
    """

    def __init__(self) -> None:
        self._open: set[Future[Any]] = set()

    def _opened(self) -> Future[Any]:
        """Return a future that is open until it is settled or called off."""
        future: Future[Any] = Future()
        self._open.add(future)
        future.add_done_callback(self._open.discard)
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Wait for what was submitted, or call it off; the other system itself goes on."""
        if cancel_futures:
            for future in list(self._open):
                future.cancel()
        if wait:
            wait_for(list(self._open))
