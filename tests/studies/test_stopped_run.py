"""A run that is stopped, however it is stopped, ends with the table of one that was not."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from tests.end_to_end import Tiny, command

COMMAND = [sys.executable, "-m", "autolora_meta"]


def begun(tiny: Tiny, runs: Path) -> subprocess.Popen[str]:
    """The run in a process group of its own, as a shell starts it."""
    arguments = ["run", tiny.config, "--runs", runs]
    return subprocess.Popen(
        [*COMMAND, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def wait_for(results: Path, lines: int, process: subprocess.Popen[str]) -> None:
    """Until so many jobs have ended."""
    end = time.monotonic() + 120
    while not results.is_file() or len(results.read_text().splitlines()) < lines:
        assert process.poll() is None and time.monotonic() < end
        time.sleep(0.02)


@pytest.mark.slow
@pytest.mark.usefixtures("both_signals")
def test_a_run_that_is_killed_and_stopped_ends_with_the_same_bytes(
    tiny: Tiny, tmp_path: Path
) -> None:
    results = tmp_path / "tiny" / "results.jsonl"
    killed = begun(tiny, tmp_path)
    wait_for(results, 1, killed)
    workers = psutil.Process(killed.pid).children(recursive=True)
    killed.kill()
    killed.communicate()
    assert workers and not psutil.wait_procs(workers, timeout=10)[1]  # none outlives it
    stopped = begun(tiny, tmp_path)
    wait_for(results, 3, stopped)
    os.killpg(stopped.pid, signal.SIGINT)  # as Ctrl-C on a terminal
    _says_what_is_kept(stopped)
    ended = begun(tiny, tmp_path)
    wait_for(results, 5, ended)
    ended.terminate()  # as a scheduler
    _says_what_is_kept(ended)
    first = results.read_text()
    last = command("run", tiny.config, "--runs", tmp_path)
    assert last.status == 0, last.err
    assert results.read_text().startswith(first)
    for name in ("table.json", "ranks.json", "adapter/adapter_model.safetensors"):
        assert (tmp_path / "tiny" / name).read_bytes() == (tiny.run / name).read_bytes(), name


def _says_what_is_kept(process: subprocess.Popen[str]) -> None:
    said, complaints = process.communicate(timeout=60)
    assert process.returncode == 130 and "Traceback" not in complaints
    assert "of 8 runs have finished and are kept in" in said
    assert "the same command goes on with the rest" in said
