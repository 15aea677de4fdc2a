"""The bar: what becomes of work whose standard error nobody reads any more."""

import threading

import pytest

from autolora_meta.foundation import progress
from autolora_meta.foundation.progress import Bar


class Closed:
    """A pipe whose reader has gone."""

    def write(self, text: str) -> None:
        raise BrokenPipeError(32, "Broken pipe")

    def flush(self) -> None:
        self.write("")

    encoding = "utf-8"

    def fileno(self) -> int:
        return 2


def test_a_reader_that_has_gone_stops_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress.sys, "stderr", Closed())
    bar = Bar()
    bar.start("search", 10.0)
    # In the study the bar moves in a thread, and is closed in another: tqdm left its lock held.
    thread = threading.Thread(target=lambda: [bar.step(0.5) for _ in range(10)], daemon=True)
    thread.start()
    thread.join(10)
    closing = threading.Thread(target=bar.close, daemon=True)
    closing.start()
    closing.join(10)
    assert not thread.is_alive() and not closing.is_alive()
