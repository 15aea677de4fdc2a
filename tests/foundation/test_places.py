"""A place that cannot be written to is found before the work, and nothing is left of the try."""

import shutil
import subprocess
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

import pytest

from autolora_meta import InputError, RunConfig, SearchResult, Study, run
from autolora_meta.foundation.places import scratch, sweep, unused, writable
from tests.end_to_end import Tiny, command

UNFIT: dict[str, tuple[Callable[[Path], Path], str]] = {
    "below a file": (lambda here: here / "file" / "new.json", "file is a file; give a folder"),
    "far below a file": (lambda here: here / "file" / "a" / "new.json", "file is a file"),
    "below a broken link": (lambda here: here / "link" / "new.json", "link is a link to nothing"),
    "where nobody can write": (lambda here: Path("/proc/self/new.json"), r"tried in /proc/self"),
    "a long name": (lambda here: here / ("n" * 300), "File name too long"),
    "a long path": (lambda here: here.joinpath(*["n" * 200] * 22), "File name too long"),
}


@pytest.fixture
def here(tmp_path: Path) -> Path:
    place = tmp_path / "here"
    place.mkdir()
    (place / "file").touch()
    (place / "link").symlink_to(place / "nowhere")
    return place


@pytest.mark.parametrize("case", UNFIT)
def test_a_place_that_cannot_be_written_to(case: str, here: Path) -> None:
    make, message = UNFIT[case]
    before = sorted(here.rglob("*"))
    with pytest.raises(InputError, match=message):
        writable(make(here))
    assert sorted(here.rglob("*")) == before


def test_a_place_that_can(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = sorted(here.rglob("*"))
    assert unused(here / "new" / "deep" / "ranks.json") == here / "new" / "deep" / "ranks.json"
    assert writable(here / "file") == here / "file"
    monkeypatch.chdir(here)
    assert unused("ranks.json") == Path("ranks.json")
    assert sorted(here.rglob("*")) == before
    with pytest.raises(InputError, match="name too long"):
        unused("n" * 250)  # fits, but not what it is written to first: `.n...n-xxxxxxxx`
    for taken in ("file", "link"):
        with pytest.raises(InputError, match="is not overwritten; give another --json"):
            unused(here / taken, "--json")


@pytest.mark.parametrize("case", UNFIT)
def test_every_command_finds_it_before_the_work(
    case: str, here: Path, tiny: Tiny, monkeypatch: pytest.MonkeyPatch
) -> None:
    def work(*_: object, **__: object) -> None:
        raise AssertionError("the work began")

    for begun in (
        (import_module("autolora_meta.pipeline.prepare"), "prepare"),
        (import_module("autolora_meta.pipeline.check"), "check"),
        (import_module("autolora_meta.verification.accuracy"), "verify"),
        (import_module("autolora_meta.exporting.export"), "find"),
        (import_module("autolora_meta.reporting.draw"), "read_ranked"),
        (SearchResult, "load"),
        (Study, "check"),
    ):
        monkeypatch.setattr(*begun, work)
    place, message = UNFIT[case][0](here), UNFIT[case][1]
    figure = place.with_name(f"{place.name.removesuffix('.json')}.svg")
    for arguments in (
        ("run", tiny.config, "--runs", place),
        ("search", tiny.config, "--runs", place),
        ("study", "hypergradients", "--smoke", "--runs", place),
        ("allocate", tiny.run, "--output", place),
        ("retrain", tiny.run, "--output", place),
        ("export", tiny.run, "--to", "merged", "--output", place),
        ("verify", "--json", place),
        ("verify", "--figure", figure),
        ("verify", "--output", place),
        ("plot", tiny.run, "--output", figure),
    ):
        said = command(*arguments)
        assert said.status == 2, arguments
        assert said.err.startswith("error: nothing can be written to "), said.err
        assert message.rpartition(";")[0] in said.err or "tried in" in said.err


def test_the_same_from_python(here: Path) -> None:
    with pytest.raises(InputError, match="is a file; give a folder"):
        run(RunConfig.load("quickstart"), here / "file" / "run")
    with pytest.raises(InputError, match="is a file; give a folder"):
        Study("quickstart", folder=here / "file" / "study").run()
    (here / "study").mkdir()
    (here / "study" / "figures").touch()
    with pytest.raises(InputError, match="figures is a file; give a folder"):
        Study("quickstart", folder=here / "study").run()


def test_the_name_of_a_run_may_be_too_long(tiny: Tiny, here: Path) -> None:
    said = command("run", tiny.config, f"name={'n' * 300}", "--runs", here)
    assert said.status == 2 and "cannot name a folder" in said.err and "at most 200" in said.err
    said = command("run", tiny.config, "--runs", here / ("n" * 300))
    assert said.status == 2 and "File name too long" in said.err
    assert sorted(path.name for path in here.iterdir()) == ["file", "link"]


def test_two_results_in_one_file_and_a_figure_of_no_format(here: Path) -> None:
    both = command("verify", "--json", here / "a.svg", "--figure", here / "a.svg")
    assert both.status == 2 and "--json and --figure both name" in both.err
    said = command("verify", "--figure", here / "a.txt")
    assert said.status == 2 and "ends with .txt; figures are written as .png" in said.err


def test_what_a_disk_refuses_later_is_one_sentence(
    tiny: Tiny, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("autolora_meta.ranks.pattern.RankPattern.save", full)
    said = command("allocate", tiny.run, "--output", here / "new.json")
    assert said.status == 2 and said.err.startswith("error: No space left on device; what has")


def test_what_a_killed_process_left_goes_with_the_next_start(tmp_path: Path) -> None:
    code = (
        "import os, signal; from pathlib import Path; from unittest import mock\n"
        "from autolora_meta.foundation.places import replace_text, scratch\n"
        f"here = Path({str(tmp_path)!r})\n"
        "end = lambda *args: os.kill(os.getpid(), signal.SIGKILL)\n"
        "held = [scratch(here), scratch(here, 'other')]\n"
        "for one in held: one.__enter__()\n"
        "with mock.patch('os.fsync', end): replace_text(here / 'table.json', '{}')\n"
    )
    subprocess.run([sys.executable, "-c", code], check=False)
    (tmp_path / ".mine-x@y-z").touch()  # of nobody's process
    assert len(list(tmp_path.iterdir())) == 4
    with scratch(tmp_path) as working:
        sweep(tmp_path, "autolora")
        assert len(list(tmp_path.iterdir())) == 4 and working.is_dir()
        sweep(tmp_path)
        assert set(tmp_path.iterdir()) == {tmp_path / ".mine-x@y-z", working}


def test_every_file_of_a_run_has_the_permissions_of_the_umask(tiny: Tiny, here: Path) -> None:
    made = here / "merged"
    assert command("export", tiny.run, "--to", "merged", "--output", made).status == 0
    (here / "new").touch()
    usual = (here / "new").stat().st_mode
    files = [file for folder in (tiny.run, made) for file in folder.rglob("*") if file.is_file()]
    private = {file.name for file in files if file.stat().st_mode != usual}
    assert len(files) > 30 and not private


def test_a_link_at_the_place_of_a_report_is_replaced_and_not_followed(
    tiny: Tiny, here: Path
) -> None:
    shutil.copytree(tiny.run, here / "run")
    (here / "precious").write_text("mine")
    names = ["report.html", "summary.md"]
    names += [f"figures/{file.name}" for file in (here / "run" / "figures").iterdir()]
    for name in names:
        (here / "run" / name).unlink()
        (here / "run" / name).symlink_to(here / "precious")
    assert command("plot", here / "run").status == 0
    (here / "run" / "table.json").unlink()
    (here / "run" / "table.json").symlink_to(here / "precious")
    run(RunConfig.load(tiny.config), here / "run")
    assert (here / "precious").read_text() == "mine"
    assert not any((here / "run" / name).is_symlink() for name in [*names, "table.json"])
