"""What long work reports while it runs: steps, sentences, rows of figures; and a bar."""

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, Protocol

from tqdm.auto import tqdm

Say = Callable[[str], None]  # is told a sentence
Row = dict[str, Any]  # figures by name, as one line of metrics.jsonl


class Progress(Protocol):
    """Receives the total work at the start and the work done after each step, in plain steps."""

    def start(self, label: str, total: float) -> None: ...

    def step(self, loss: float | None = None, work: float = 1.0) -> None: ...

    def close(self) -> None: ...


class Silent:
    """A progress that shows nothing."""

    def start(self, label: str, total: float) -> None:
        pass

    def step(self, loss: float | None = None, work: float = 1.0) -> None:
        pass

    def close(self) -> None:
        pass


class _Forgiving:
    """Standard error whose reader may go: a bar is not worth the work, nor a lock that it holds."""

    def __init__(self, file: Any) -> None:
        self._file = file

    def write(self, text: str) -> None:
        with suppress(OSError, ValueError):
            self._file.write(text)

    def flush(self) -> None:
        with suppress(OSError, ValueError):
            self._file.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


class Bar:
    """A tqdm bar on standard error: label, share done, remaining time and the latest loss."""

    FORMAT = "{desc} {percentage:3.0f}% |{bar}| {elapsed} gone, {remaining} left{postfix}"

    def __init__(self) -> None:
        self._bar: tqdm | None = None

    def start(self, label: str, total: float) -> None:
        self.close()
        shown: Any = _Forgiving(sys.stderr)
        self._bar = tqdm(
            total=total, desc=label, file=shown, dynamic_ncols=True, bar_format=self.FORMAT
        )

    def step(self, loss: float | None = None, work: float = 1.0) -> None:
        if self._bar is not None:
            if loss is not None:
                self._bar.set_postfix(loss=f"{loss:.3f}", refresh=False)
            self._bar.update(work)

    def close(self) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None


class Share:
    """Progress of one part of a larger work; it adds exactly its share.

    Args:
        whole: progress of the larger work, closed by whoever started it.
        share: plain steps of this part; those that it did not need count when it closes.
    """

    def __init__(self, whole: Progress, share: float) -> None:
        self._whole, self._left = whole, share

    def start(self, label: str, total: float) -> None:
        pass

    def step(self, loss: float | None = None, work: float = 1.0) -> None:
        work = min(work, self._left)
        self._left -= work
        self._whole.step(loss, work)

    def close(self) -> None:
        self.step(None, self._left)


class Steps:
    """Progress of one part after another of a larger work, which only their steps move on.

    Args:
        whole: progress of the larger work, started and closed by whoever does it.
    """

    def __init__(self, whole: Progress) -> None:
        self._whole = whole

    def start(self, label: str, total: float) -> None:
        pass

    def step(self, loss: float | None = None, work: float = 1.0) -> None:
        self._whole.step(loss, work)

    def close(self) -> None:
        pass


class Sender:
    """Progress of a worker process: puts every step on a queue that the parent reads.

    Where the process that holds the queue was killed, the work goes on without progress.
    """

    def __init__(self, queue: Any) -> None:
        self._queue = queue

    def start(self, label: str, total: float) -> None:
        pass

    def step(self, loss: float | None = None, work: float = 1.0) -> None:
        with suppress(OSError, EOFError):
            self._queue.put((loss, work))

    def close(self) -> None:
        pass


@contextmanager
def listening(queue: Any, progress: Progress) -> Iterator[None]:
    """Run the body and pass the steps that workers put on `queue` to `progress`."""

    def listen() -> None:
        with suppress(OSError, EOFError):
            pass_on()

    def pass_on() -> None:
        while (message := queue.get()) is not None:
            progress.step(*message)

    thread = threading.Thread(target=listen, daemon=True)
    thread.start()
    try:
        yield
    finally:
        with suppress(OSError, EOFError):
            queue.put(None)
            thread.join()
        progress.close()
