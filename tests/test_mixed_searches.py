"""Files of two searches in one folder: no command believes them."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from autolora_meta.foundation import manifest
from tests.end_to_end import Tiny, command

FILES = (
    "config.yaml",
    "ranks.json",
    "alphas.safetensors",
    "metrics.jsonl",
    "search/importance.safetensors",
    "search/search.json",
    "search/start.safetensors",
)


@pytest.fixture(scope="module")
def two(tiny: Tiny, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Path]]:
    """Two searches of equal shapes: the same steps and layers, another rate of the gates."""
    runs = tmp_path_factory.mktemp("runs")
    for name, rate in (("one", 0.1), ("two", 0.9)):
        said = command(
            *("search", tiny.config, f"name={name}", "--runs", runs),
            *(f"search.outer.learning_rate={rate}", "search.outer_steps=6"),
        )
        assert said.status == 0, said.err
    yield runs / "one", runs / "two"


def refused(folder: Path, file: str, tmp_path: Path) -> None:
    """By each command that reads it, naming the file, and with nothing written."""
    out = tmp_path / "out"
    calls = {
        "allocate": (),
        "retrain": ("--start", "search", "--output", out),
        "export": ("--to", "axolotl", "--output", out),
        "plot": (),
    }
    if file == "ranks.json":  # it follows from the rest, and `allocate` writes it again
        del calls["allocate"], calls["plot"]
    if file == "search/start.safetensors":
        del calls["export"]
    for name, more in calls.items():
        said = command(name, folder, *more)
        assert said.status == 2 and Path(file).name in said.err, (name, file, said)
        assert not out.exists()


@pytest.mark.parametrize("file", FILES)
def test_one_file_of_another_search(file: str, two: tuple[Path, Path], tmp_path: Path) -> None:
    shutil.copytree(two[0], tmp_path / "one")
    shutil.copy(two[1] / file, tmp_path / "one" / file)
    assert (two[0] / file).read_bytes() != (two[1] / file).read_bytes()
    refused(tmp_path / "one", file, tmp_path)


def test_all_files_but_the_configuration_are_of_another_search(
    two: tuple[Path, Path], tmp_path: Path
) -> None:
    shutil.copytree(two[1], tmp_path / "one")
    shutil.copy(two[0] / "config.yaml", tmp_path / "one")
    with manifest.sealing(tmp_path / "one", "config.yaml"):
        pass  # as two processes leave it that write one folder at once
    refused(tmp_path / "one", "config.yaml", tmp_path)


def test_a_run_that_goes_on_reads_no_other_search(tiny: Tiny, tmp_path: Path) -> None:
    folder = tmp_path / "tiny"
    shutil.copytree(tiny.run, folder)
    (folder / "results.jsonl").unlink()  # what follows is to be done again
    one, two = sorted(folder.glob("searches/*/*/learned"))
    for file in (*FILES[2:], "."):  # the ranks are those of each run
        shutil.move(one, tmp_path / "aside")
        shutil.copytree(two if file == "." else tmp_path / "aside", one)
        if file != ".":
            shutil.copy(two / file, one / file)
        said = command("run", tiny.config, "--runs", tmp_path)
        assert said.status == 2 and f"remove {one.parent.parent}, and" in said.err, (file, said)
        assert file == "." or Path(file).name in said.err
        shutil.rmtree(one)
        shutil.move(tmp_path / "aside", one)
