"""A disk that takes nothing more is a sentence that says how to go on."""

import errno
import os
from pathlib import Path

import pytest
from typer.testing import CliRunner

from autolora_meta.cli.main import app


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
