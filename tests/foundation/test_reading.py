"""What is no file is named, and not waited for."""

import os
from pathlib import Path

import pytest

from autolora_meta import InputError, RankPattern, RunConfig
from autolora_meta.finetuning.data import DataOptions, load_rows
from autolora_meta.finetuning.tasks import task_class
from autolora_meta.foundation import manifest
from autolora_meta.studies.table import StudyTable
from tests.damage import survives
from tests.end_to_end import Tiny, command
from tests.properties.written import READERS, contents


@pytest.fixture(params=["a pipe", "a device", "a folder"])
def special(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    place = tmp_path / "special.csv"
    if request.param == "a pipe":
        os.mkfifo(place)
    elif request.param == "a device":
        place.symlink_to("/dev/zero")
    else:
        place.mkdir()
    return place


def test_a_place_that_is_no_file(special: Path) -> None:
    roles = task_class("sequence-classification").roles
    for read in (
        lambda: RunConfig.load(special),
        lambda: RankPattern.load(special),
        lambda: StudyTable.load(special),
        lambda: load_rows(DataOptions(source=str(special)), roles, 0),
        lambda: load_rows(DataOptions(source={"train": str(special)}), roles, 0),
    ):
        with pytest.raises(
            InputError, match=r"is a (pipe|device|folder)|cannot be|no table|no file"
        ):
            read()


def test_ranks_that_are_a_pipe(tiny: Tiny, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "ranks.json")
    said = command(
        *("retrain", tiny.run, "--ranks", tmp_path / "ranks.json", "--output", tmp_path / "new")
    )
    assert said.status == 2 and "is a pipe; give a file" in said.err
    assert not (tmp_path / "new").exists()


def test_a_device_as_configuration() -> None:
    for name in ("config", "study"):
        said = command(name, "/dev/null")
        assert (said.status, said.err) == (2, "error: /dev/null is a device; give a file\n")


@pytest.mark.parametrize("name", READERS)
def test_a_pipe_in_the_place_of_a_file_of_a_run(name: str, tmp_path: Path) -> None:
    (tmp_path / "search").mkdir()
    for other, content in contents().items():
        if other not in (name, manifest.FILE):
            (tmp_path / other).write_bytes(content)
    os.mkfifo(tmp_path / name)
    said = survives(lambda: READERS[name](tmp_path))  # nobody ever writes into it
    optional = (manifest.FILE, "results.jsonl", "timings.jsonl", "looks.json", "inputs.json")
    optional += ("environment.json", "rows.json", "search/start.safetensors")
    assert said is not None or name in optional
