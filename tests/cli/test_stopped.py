"""Commands that were stopped: the same one goes on, `--restart` and `--overwrite` begin anew."""

import os
import signal
from pathlib import Path

import pytest

from autolora_meta.foundation.progress import Bar
from tests.end_to_end import Said, Tiny, command

SAVED = ("runtime.checkpoint_minutes=null",)  # at signals alone
SEARCHED = ("ranks.json", "alphas.safetensors", "metrics.jsonl", "search/start.safetensors")

pytestmark = pytest.mark.usefixtures("both_signals")


def stopped(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> Said:
    """What a command says that gets Ctrl-C when its bar moves for the third time."""
    moved, step = [0], Bar.step

    def stop(self: Bar, *given: float) -> None:
        step(self, *given)
        moved[0] += 1
        if moved[0] == 3:
            os.kill(os.getpid(), signal.SIGINT)

    with monkeypatch.context() as patched:
        patched.setattr(Bar, "step", stop)
        return command(*arguments)


def test_a_search(tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("autolora_meta.reporting.figures.draw_search", lambda *_: None)  # slow
    call = ("search", tiny.config, *SAVED, "--runs")
    assert command(*call, tmp_path / "whole").status == 0
    for option, anew in ((None, False), ("--restart", True), ("--overwrite", True)):
        runs = tmp_path / (option or "plain")
        said = stopped(monkeypatch, *call, runs)
        assert said.status == 130 and "goes on from the last checkpoint in" in said.out
        again = command(*call, runs, *([option] if option else []))
        assert again.status == 0 and ("goes on at step 3 of 5" not in again.out) == anew, option
        for name in SEARCHED:
            one, other = (place / "tiny" / name for place in (runs, tmp_path / "whole"))
            assert one.read_bytes() == other.read_bytes(), (option, name)
        assert not (runs / "tiny" / "checkpoints").exists()


def test_a_retraining(tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    call = ("retrain", tiny.run, "--output")
    assert command(*call, tmp_path / "whole").status == 0
    for option in ((), ("--restart",)):
        output = tmp_path / f"adapter{len(option)}"
        said = stopped(monkeypatch, *call, output)
        kept = tmp_path / f"{output.name}-checkpoints"
        assert said.status == 130 and f"goes on from the last checkpoint in {kept}" in said.out
        again = command(*call, output, *option)
        assert again.status == 0 and ("goes on at step" not in again.out) == bool(option)
        weights = [place / "adapter_model.safetensors" for place in (output, tmp_path / "whole")]
        assert weights[0].read_bytes() == weights[1].read_bytes() and not kept.exists()
