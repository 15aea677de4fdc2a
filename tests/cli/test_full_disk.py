"""A disk that is full, at whatever moment: a sentence, status 2, and the same command goes on."""

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.end_to_end import command, contents, tiny_setting

SEARCH = ("runtime.checkpoint_steps=1",)


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Callable[[int | None], list[int]]:
    """Return what fills the disk from the n-th file that is written on; None: it has room."""
    fsync = os.fsync

    def fill(number: int | None) -> list[int]:
        written: list[int] = []

        def refuse(descriptor: int) -> None:
            written.append(descriptor)
            if number is not None and len(written) >= number:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            fsync(descriptor)

        monkeypatch.setattr(os, "fsync", refuse)
        return written

    return fill


def test_a_search_on_a_disk_that_fills_goes_on_to_the_same_bytes(
    disk: Callable[[int | None], list[int]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("autolora_meta.reporting.figures.draw_search", lambda *_: None)  # slow
    tiny = tiny_setting(tmp_path)
    written = disk(None)
    assert command("search", tiny.config, *SEARCH, "--runs", tmp_path / "whole").status == 0
    whole = contents(tmp_path / "whole")
    for number in (1, 2, len(written) // 2, len(written) - 4, len(written)):
        runs = tmp_path / f"full-{number}"
        disk(number)
        said = command("search", tiny.config, *SEARCH, "--runs", runs)
        assert said.status == 2, said.err
        assert "No space left on device" in said.err and "the same command does" in said.err
        disk(None)
        again = command("search", tiny.config, *SEARCH, "--runs", runs)
        assert again.status == 0, (number, again.err)
        assert contents(runs) == whole, number
