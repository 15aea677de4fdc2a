"""A disk that takes nothing more is a sentence that says how to go on."""

import errno
import os
import shutil
from pathlib import Path

import pytest
from peft import PeftModel
from safetensors import SafetensorError
from typer.testing import CliRunner

from autolora_meta.cli.main import app
from tests.end_to_end import Tiny, command


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
