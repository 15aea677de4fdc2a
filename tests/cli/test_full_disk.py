"""A disk that takes nothing more, and memory that is short: a sentence that says how to go on."""

import errno
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from peft import PeftModel
from safetensors import SafetensorError
from typer.testing import CliRunner

from autolora_meta.cli.main import app
from tests.end_to_end import Tiny, command, contents, tiny_setting


@pytest.mark.parametrize(
    ("number", "mend"),
    [(errno.ENOSPC, "room on the disk"), (errno.EDQUOT, "quota"), (errno.EROFS, "written to")],
)
def test_what_was_kept_and_how_to_go_on_is_said(
    number: int, mend: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("autolora_meta.foundation.places.os.fsync", full)
    done = CliRunner().invoke(
        app, ["search", "quickstart", "data.source=x", "--runs", str(tmp_path)]
    )
    assert done.exit_code == 2 and isinstance(done.exception, SystemExit)
    assert os.strerror(number) in done.output and mend in done.output
    assert "what has finished is kept" in done.output and not list(tmp_path.iterdir())


FULL = "No space left on device"
AS_THEY_SAY_IT = [
    SafetensorError(f"Error while serializing: I/O error: {FULL} (os error 28)"),
    shutil.Error([("one", "other", f"[Errno 28] {FULL}: 'one' -> 'other'")]),
    OSError(errno.ENOSPC, FULL),
]


def test_memory_that_is_short_outside_of_search_and_retraining_is_a_sentence(
    tiny: Tiny, monkeypatch: pytest.MonkeyPatch
) -> None:
    def short(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr("autolora_meta.exporting.source.find", short)
    said = command("export", tiny.run)
    assert said.status == 3 and "memory is not enough (MemoryError)" in said.err


@pytest.mark.parametrize("error", AS_THEY_SAY_IT, ids=lambda error: type(error).__name__)
def test_a_disk_that_is_full_by_any_name(
    error: Exception, tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(PeftModel, "save_pretrained", full)
    said = command("retrain", tiny.run, "--output", tmp_path / "adapter")
    assert said.status == 2 and FULL in said.err and "make room on the disk" in said.err
    left = [path.name for path in tmp_path.iterdir() if not path.name.endswith("-checkpoints")]
    assert left == []


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
        assert "No space left on device" in said.err and "give the same command again" in said.err
        disk(None)
        again = command("search", tiny.config, *SEARCH, "--runs", runs)
        assert again.status == 0, (number, again.err)
        assert contents(runs) == whole, number
