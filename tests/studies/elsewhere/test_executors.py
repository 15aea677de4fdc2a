"""A small study by each executor: the table is that of this machine's processes, also after a kill.

`make executors` runs them. The one of Slurm runs where `sinfo` finds a cluster.
"""

import shutil
import subprocess
import threading
import time
from pathlib import Path

import psutil
import pytest
import yaml

from autolora_meta.studies.saved import CHECKPOINTS
from autolora_meta.studies.table import FILE
from tests.end_to_end import Said, Tiny, command

pytestmark = [
    pytest.mark.executors,
    pytest.mark.filterwarnings("default"),  # what these packages warn of is theirs
]
LOCAL, DASK, RAY = ["local"], ["dask", "n_workers=2"], ["ray"]
HERE, SLURM = ["submitit", "cluster=local"], ["submitit", "cluster=slurm", "cpus_per_task=1"]
TRAINS = {DASK[0]: "spawn_main", RAY[0]: "ray::answer", HERE[0]: "submitit.core._submit"}


def has_slurm() -> bool:
    return bool(shutil.which("sinfo")) and subprocess.call(["sinfo"], timeout=60) == 0


def written(tiny: Tiny, file: Path, arms: list[str], *settings: str) -> Path:
    """A study of one seed."""
    study = {"name": "small", "base": [str(tiny.config), *settings], "arms": arms, "seeds": 1}
    file.write_text(yaml.safe_dump(study), encoding="utf-8")
    return file


def by(file: Path, executor: list[str], *more: str) -> Said:
    name, *options = executor
    chosen = [word for option in options for word in ("--executor-option", option)]
    runs = file.parent / "-".join(executor)
    return command("study", file, "--runs", runs, "--executor", name, *chosen, *more)


def table(file: Path, executor: list[str]) -> bytes:
    return (file.parent / "-".join(executor) / "small" / FILE).read_bytes()


@pytest.fixture(scope="module")
def shared(tiny: Tiny, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study whose two arms share a search; it has run by processes of this machine."""
    file = tmp_path_factory.mktemp("shared") / "small.yaml"
    assert by(written(tiny, file, ["learned", "shuffled"]), LOCAL).status == 0
    return file


@pytest.fixture(scope="module")
def long(tiny: Tiny, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study of one retraining, which takes seconds and is saved now and then; it has run so."""
    file = tmp_path_factory.mktemp("long") / "small.yaml"
    saved = ["retrain.steps=800", "runtime.checkpoint_steps=20"]
    assert by(written(tiny, file, ["uniform"], *saved), LOCAL).status == 0
    return file


def killed_when_saved(folder: Path, trains: str) -> threading.Thread:
    """Kills the process that trains, once there is a checkpoint."""

    def watch() -> None:
        end = time.monotonic() + 240
        while not list(folder.glob(f"{CHECKPOINTS}/*/*.safetensors")) and time.monotonic() < end:
            time.sleep(0.05)
        below = psutil.Process().children(recursive=True)
        found = [one for one in below if trains in " ".join(one.cmdline())]
        max(found, key=lambda one: one.cpu_times().user).kill()

    thread = threading.Thread(target=watch)
    thread.start()
    return thread


@pytest.mark.parametrize("executor", [DASK, RAY, HERE, SLURM], ids="-".join)
def test_the_same_table(shared: Path, executor: list[str]) -> None:
    if executor is SLURM and not has_slurm():
        pytest.skip("there is no Slurm here")
    assert by(shared, executor).status == 0
    assert table(shared, executor) == table(shared, LOCAL)


@pytest.mark.parametrize("executor", [DASK, RAY, HERE], ids="-".join)
def test_a_worker_that_is_killed_costs_its_job(long: Path, executor: list[str]) -> None:
    place = long.parent / "-".join(executor)
    killer = killed_when_saved(place / "small", TRAINS[executor[0]])
    said = by(long, executor)
    killer.join()
    if executor is not DASK:  # which does the job again by itself
        assert said.status == 2 and "its process died (killed, or out of memory)" in said.err
        said = by(long, executor, "--retry-failed")
        assert "1 of these jobs were begun, and go on from their last checkpoint" in said.out
    assert said.status == 0 and table(long, executor) == table(long, LOCAL)
