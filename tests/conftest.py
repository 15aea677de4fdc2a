"""Tests run offline, on one thread and without a display, so that they give the same everywhere."""

import os

# Read by the libraries when they are imported: set before anything imports them.
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ["MPLBACKEND"] = "Agg"

import json
import signal
from collections.abc import Iterator
from dataclasses import asdict

import pytest
import torch
from filelock import FileLock

from tests.end_to_end import Tiny, command, tiny_setting

torch.set_num_threads(1)


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Tiny:
    """A tiny setting whose run is finished: made once, read by many tests, changed by none."""
    place = tmp_path_factory.getbasetemp()
    if worker_id != "master":
        place = place.parent  # the workers of one session share it
    place = place / "end-to-end"
    with FileLock(f"{place}.lock"):
        if not place.exists():
            place.mkdir()
            setting = tiny_setting(place)
            said = command("run", setting.config, "--runs", place / "runs")
            assert said.status == 0, said.err
            (place / "said.json").write_text(json.dumps(asdict(said)), encoding="utf-8")
    return Tiny(place / "model", place / "rows.csv", place / "tiny.yaml", place / "runs" / "tiny")


@pytest.fixture
def both_signals() -> Iterator[None]:
    """Let Ctrl-C and SIGTERM raise, also in a process that a shell began in the background."""
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(number, signal.default_int_handler) for number in numbers]
    yield
    for number, handler in zip(numbers, before, strict=True):
        signal.signal(number, handler)
