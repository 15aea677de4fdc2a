"""The folder of a search: one process at a time, and nothing left of one that did not begin."""

import os
import re
import subprocess
import sys
from pathlib import Path
from platform import node

import pytest

from autolora_meta.config.run import RunConfig
from autolora_meta.errors import InputError
from autolora_meta.foundation import manifest
from autolora_meta.foundation.lock import FILES
from autolora_meta.studies.folder import claimed, fill
from autolora_meta.studies.ledger import Ledger
from tests.end_to_end import contents, tiny_setting

CONFIG = RunConfig.load("quickstart")


def test_a_folder_is_given_to_one_process(tmp_path: Path) -> None:
    wanted = tmp_path / "runs" / "mine"
    with claimed(wanted) as folder:
        with pytest.raises(InputError, match=rf"process {os.getpid()} on {re.escape(node())}"):
            claimed(wanted).__enter__()
        fill(folder, CONFIG)
        for overwrite in (False, True):
            with pytest.raises(InputError, match=r"exists, and finished|another process"):
                claimed(wanted, overwrite=overwrite).__enter__()
        with claimed(wanted, numbered=True) as second, claimed(wanted, numbered=True) as third:
            assert [second.name, third.name] == ["mine-2", "mine-3"]
    with pytest.raises(InputError, match="finished work is not overwritten"):
        claimed(wanted).__enter__()
    (wanted / "old.txt").touch()
    with claimed(wanted, overwrite=True):
        assert (wanted / "old.txt").exists()  # until the new search can begin
        fill(wanted, CONFIG)
    assert set(contents(wanted)) - FILES == {"config.yaml", manifest.FILE}
    assert [path.name for path in wanted.parent.iterdir()] == ["mine"]


def test_nothing_is_left_of_what_did_not_begin(tmp_path: Path) -> None:
    for there in (False, True):
        if there:
            (tmp_path / "runs").mkdir()
        with pytest.raises(InputError, match="no such model"), claimed(tmp_path / "runs" / "mine"):
            raise InputError("no such model")
        assert (tmp_path / "runs").exists() == there
        assert not (tmp_path / "runs" / "mine").exists()


def test_the_lock_of_a_killed_process_keeps_nobody_out(tmp_path: Path) -> None:
    script = (
        "import os, signal; from pathlib import Path\n"
        "from autolora_meta.studies.folder import claimed\n"
        f"claim = claimed(Path({str(tmp_path / 'mine')!r})); claim.__enter__()\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    subprocess.run([sys.executable, "-c", script], check=False)
    assert {path.name for path in (tmp_path / "mine").iterdir()} == FILES
    with claimed(tmp_path / "mine") as folder:
        assert folder == tmp_path / "mine"


def test_of_two_searches_started_at_once_one_is_refused(tmp_path: Path) -> None:
    tiny = tiny_setting(tmp_path)
    begin = (
        *(sys.executable, "-c", "from autolora_meta.cli.main import app; app()", "search"),
        *(tiny.config, "name=tiny", "--runs", tiny.run.parent),
    )
    started = [
        subprocess.Popen(
            [*map(str, begin), f"search.outer_steps={steps}"], stderr=subprocess.PIPE, text=True
        )
        for steps in (3, 4)
    ]
    said = [process.communicate(timeout=120)[1] for process in started]
    status = [process.returncode for process in started]
    assert sorted(status) == [0, 2]
    refused, finished = said[status.index(2)], (3, 4)[status.index(0)]
    assert "another process" in refused or "finished work is not overwritten" in refused
    assert f"outer_steps: {finished}" in (tiny.run / "config.yaml").read_text()
    assert len((tiny.run / "metrics.jsonl").read_text().splitlines()) >= finished


@pytest.mark.parametrize("of", ["search", "study"])
def test_half_written_files_of_a_killed_process_go(of: str, tmp_path: Path) -> None:
    with claimed(tmp_path / "mine") as folder:
        fill(folder, CONFIG)
    (figures := folder / "figures").mkdir()
    script = (
        "import os, signal; from pathlib import Path\n"
        "from autolora_meta.foundation.places import replace_text\n"
        "os.fsync = lambda _: os.kill(os.getpid(), signal.SIGKILL)\n"
        "replace_text(Path('ranks.svg'), 'half')\n"
    )
    subprocess.run([sys.executable, "-c", script], check=False, cwd=figures)
    assert len(list(figures.iterdir())) == 1
    if of == "study":
        Ledger(folder).sweep()
    else:
        claimed(folder, search=CONFIG).__enter__()
    assert not list(figures.iterdir())
