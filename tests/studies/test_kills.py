"""Twenty kills at random moments, from the first search to the page: the same bytes at the end."""

import multiprocessing
import multiprocessing.process
import os
import random
import shutil
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from autolora_meta.config.run import RunConfig
from autolora_meta.foundation.progress import Silent
from autolora_meta.reporting.keep_adapter import KeepAdapter
from autolora_meta.reporting.report import report
from autolora_meta.studies.ledger import Ledger
from autolora_meta.studies.study import Study
from tests.end_to_end import Tiny

KILLS = 8
ENDS = ("table.json", "ranks.json", "alphas.safetensors", "adapter/adapter_model.safetensors")
# A checkpoint at each step, so that many kills come while one is written.
SAVED = ["runtime.checkpoint_steps=1", "search.outer_steps=6", "retrain.steps=6"]
SAVED += ["compare.replicates=1", "compare.arms=[learned, uniform]"]


def whole_job(config: RunConfig, folder: Path) -> None:
    """What `autolora-meta run` does, in one process: a worker of its own would take seconds."""
    study = Study.of(config, folder)
    Ledger(folder).sweep()  # which a study leaves to those whose executor it is given
    with ThreadPoolExecutor(1) as one:
        study.run(one, keep=KeepAdapter(config), progress=Silent(), say=lambda words: None)
    report(folder, study.first)


def begun(config: RunConfig, folder: Path) -> multiprocessing.process.BaseProcess:
    process = multiprocessing.get_context("fork").Process(target=whole_job, args=(config, folder))
    process.start()
    return process


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_kills_at_random_moments(tiny: Tiny, tmp_path: Path) -> None:
    config = RunConfig.load(str(tiny.config), *SAVED)
    started = time.monotonic()
    whole = begun(config, tmp_path / "whole")
    whole.join()
    took, draw, here, kills = time.monotonic() - started, random.Random(0), tmp_path / "killed", 0
    assert whole.exitcode == 0
    ended = 0
    while kills < KILLS:
        process = begun(config, here)
        process.join(draw.uniform(0, took))
        if process.is_alive() and process.pid is not None:
            os.kill(process.pid, signal.SIGKILL)
            process.join()
            kills += 1
            if kills < KILLS:
                continue
            process = begun(config, here)
            process.join()
        assert process.exitcode == 0
        ended += 1
        for name in ENDS:
            one, other = (folder / name for folder in (here, tmp_path / "whole"))
            told, meant = (text.read_bytes().replace(b"killed", b"whole") for text in (one, other))
            assert told == meant, name
        assert not [*here.rglob(".*-*@*")] and not [*here.glob("checkpoints/*")]
        shutil.rmtree(here)
    assert ended
