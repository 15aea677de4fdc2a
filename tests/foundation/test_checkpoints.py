"""Checkpoints: when they are due, which are kept, and what a full disk costs."""

import errno
import os
from pathlib import Path

import pytest

from autolora_meta.foundation import checkpoints as module
from autolora_meta.foundation.checkpoints import Checkpoints, Every, saying_how_to_go_on


def test_the_last_two_are_kept(tmp_path: Path) -> None:
    kept = Checkpoints(tmp_path / "kept", Every(steps=2))
    assert kept.latest() is None and kept.step is None
    for step in (2, 4, 10):
        assert kept.due(step)
        kept.save(step, {"step": step})
        assert not kept.due(step + 1)
    assert len([*(tmp_path / "kept").iterdir()]) == 2
    again = Checkpoints(tmp_path / "kept", Every(steps=2))
    assert again.step == 10 and again.latest() == (10, {"step": 10}) and not again.due(11)
    again.clear()
    assert again.latest() is None and not (tmp_path / "kept").exists()


def test_the_clock_of_the_machine_may_jump(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(module.time, "time", lambda: -1e9)
    kept = Checkpoints(tmp_path, Every(minutes=1))
    now[0] += 59
    assert not kept.due(1)
    now[0] += 1
    assert kept.due(1)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EDQUOT])
def test_a_full_disk_costs_the_checkpoint_alone(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    number: int,
) -> None:
    kept = Checkpoints(tmp_path, Every(steps=1))
    kept.save(1, {"step": 1})

    def fails(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", fails)
        kept.save(2, {"step": 2})
    assert f"no checkpoint of step 2 could be written to {tmp_path}" in caplog.text
    assert os.strerror(number) in caplog.text
    assert kept.latest() == (1, {"step": 1}) and len([*tmp_path.iterdir()]) == 1


def test_other_files_are_left_alone(tmp_path: Path) -> None:
    for name in ("step-x-1.safetensors", "notes.txt", "step-1.safetensors"):
        (tmp_path / name).write_text("mine")
    kept = Checkpoints(tmp_path, Every(steps=1))
    assert kept.latest() is None
    for step in (1, 2, 3):
        kept.save(step, {})
    assert len([*tmp_path.iterdir()]) == 5


@pytest.mark.parametrize(
    ("below", "words"),
    [(None, "before the first checkpoint"), (".", "goes on from the last"), ("0", "goes on from")],
)
def test_who_stops_work_is_told_how_to_go_on(tmp_path: Path, below: str | None, words: str) -> None:
    kept, said = Checkpoints(tmp_path / "kept", Every()), list[str]()
    if below is not None:
        kept.below(below).save(1, {})
    with pytest.raises(KeyboardInterrupt), saying_how_to_go_on(kept, said.append):
        raise KeyboardInterrupt
    assert len(said) == 1 and words in said[0]
