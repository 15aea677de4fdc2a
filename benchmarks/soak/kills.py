"""Kills at random moments: the same command must end with the same bytes, and leave nothing."""

import contextlib
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil

from benchmarks.soak.line import Line
from tests.end_to_end import tiny_setting

COMMAND = [sys.executable, "-m", "autolora_meta"]
# A checkpoint at each step, so that many kills come while one is written.
SAVED = ["runtime.checkpoint_steps=1", "search.outer_steps=30", "retrain.steps=30"]
SAVED += ["compare.replicates=1"]
ENDINGS = {
    "search": ("ranks.json", "alphas.safetensors", "metrics.jsonl", "search/start.safetensors"),
    "run": ("table.json", "ranks.json", "alphas.safetensors", "adapter/adapter_model.safetensors"),
}
SIGNALS = (signal.SIGKILL, signal.SIGKILL, signal.SIGINT, signal.SIGTERM)
_MOST = 4  # kills of one piece of work
_PATIENCE = 300  # seconds that a call may take


def soak(seconds: float, seed: int, folder: Path) -> list[Line]:
    """Kill `search` and `run` by turns until the time is over.

    Args:
        seconds: what it may take, about.
        seed: of the moments.
        folder: to work in.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)  # which a shell may have ignored
    end, draw = time.monotonic() + seconds, random.Random(seed)
    tiny = tiny_setting(folder)
    lines = {
        verb: Line(f"`{verb}` killed at a random moment, same bytes after") for verb in ENDINGS
    }
    left = Line("processes and half-made folders left by a killed call")
    whole = {verb: _whole(verb, tiny.config, folder / f"whole-{verb}") for verb in ENDINGS}
    while time.monotonic() < end:
        for verb, (files, took) in whole.items():
            here = folder / "killed"
            fault = _killed(verb, tiny.config, here, took, draw, lines[verb], left)
            told = {name: _read(here / "tiny" / name) for name in files}
            apart = [name for name in files if told[name] != files[name]]
            if fault or apart:
                lines[verb].faults.append(f"{fault or ''} {', '.join(apart)} differ".strip())
                lines[verb].held -= 1
            scratch = [str(path) for path in here.rglob(".*-*@*")]
            left.note(f"after {verb}: {scratch}" if scratch else None)
            shutil.rmtree(here, ignore_errors=True)  # a fault may have come before it was made
    return [*lines.values(), left]


def _killed(
    verb: str, config: Path, runs: Path, took: float, draw: random.Random, line: Line, left: Line
) -> str | None:
    """Kill one piece of work a few times, then let it end; return what went wrong."""
    for _ in range(draw.randint(1, _MOST)):
        process = _begun(verb, config, runs)
        workers: list[psutil.Process] = []
        number, moment = draw.choice(SIGNALS), time.monotonic() + draw.uniform(0, took)
        while time.monotonic() < moment and process.poll() is None:
            time.sleep(0.01)
        if process.poll() is not None:
            break  # it has ended first
        with contextlib.suppress(psutil.NoSuchProcess):
            workers = psutil.Process(process.pid).children(recursive=True)
        process.send_signal(number)
        _, complaints = process.communicate(timeout=_PATIENCE)
        line.note(None)
        _, alive = psutil.wait_procs(workers, timeout=10)
        left.note(f"{len(alive)} workers outlived {verb}" if alive else None)
        if "Traceback" in complaints:
            return f"a traceback after {number.name}: {complaints[-300:]}"
    process = _begun(verb, config, runs)
    _, complaints = process.communicate(timeout=_PATIENCE)
    return f"status {process.returncode}: {complaints[-300:]}" if process.returncode else None


def _whole(verb: str, config: Path, runs: Path) -> tuple[dict[str, bytes | None], float]:
    """Return the files of work that was not killed, and the seconds that it took."""
    started = time.monotonic()
    process = _begun(verb, config, runs)
    _, complaints = process.communicate(timeout=_PATIENCE)
    if process.returncode:
        raise RuntimeError(f"{verb} fails without any kill: {complaints}")
    files = {name: _read(runs / "tiny" / name) for name in ENDINGS[verb]}
    return files, time.monotonic() - started


def _begun(verb: str, config: Path, runs: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*COMMAND, verb, str(config), *SAVED, "--runs", str(runs)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def _read(file: Path) -> bytes | None:
    return file.read_bytes() if file.is_file() else None
