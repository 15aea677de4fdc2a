"""A study on a disk that is full: nothing is lost, no run is taken for one that failed."""

import errno
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from autolora_meta.errors import Unwritten
from autolora_meta.foundation.disk import unwritten
from autolora_meta.studies import work
from autolora_meta.studies.ledger import Ledger
from tests.studies.stub_work import calls, retrain, study


def full(*_: Any) -> Any:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_job_that_finds_no_room_ends_the_study_and_is_run_by_the_same_call(
    tmp_path: Path, executor: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fills(*arguments: Any) -> dict[str, Any]:
        return full() if sum(calls.values()) > 3 else retrain(*arguments)

    monkeypatch.setattr(work, "retrain_once", fills)
    with pytest.raises(Unwritten, match="make room on the disk, and give the same command again"):
        study(tmp_path, vary={}).run(executor)
    kept = Ledger(tmp_path).rows()
    assert all(row["status"] == "finished" for row in kept.values())
    monkeypatch.setattr(work, "retrain_once", retrain)
    table = study(tmp_path, vary={}).run(executor)
    assert len(table.finished) == len(table.rows)
    assert [calls[key] for key in kept] == [1] * len(kept)


def test_a_disk_that_fills_at_any_file_of_a_study_leaves_it_readable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fsync, written = os.fsync, list[int]()

    def fills(descriptor: int, after: int) -> None:
        written.append(descriptor)
        full() if len(written) > after else fsync(descriptor)

    def run(folder: Path, after: int) -> Any:
        written.clear()
        monkeypatch.setattr(os, "fsync", lambda descriptor: fills(descriptor, after))
        with ThreadPoolExecutor(1) as one:
            return study(folder, vary={}, seeds=1).run(one)

    whole = run(tmp_path / "whole", 10**6)
    for after in range(0, len(written), 3):
        folder = tmp_path / str(after)
        with pytest.raises(OSError, match=r"No space") as caught:
            run(folder, after)
        assert str(folder) in str(unwritten(caught.value))
        study(folder, vary={}, seeds=1).table()  # what is there is read
        assert run(folder, 10**6) == whole
