"""A script without a main guard is told so in one sentence, before anything is written or lost."""

import os
import subprocess
import sys
from multiprocessing import current_process
from multiprocessing.managers import SyncManager
from pathlib import Path

import pytest

from autolora_meta import InputError, RunConfig, Study, run
from autolora_meta.foundation.progress import Silent
from autolora_meta.studies.main_guard import _runs_at_import
from autolora_meta.studies.pool import local_pool

SCRIPT = """
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from autolora_meta import RunConfig, Study, run

try:
    with ProcessPoolExecutor(1, get_context("forkserver")) as executor:
        Study("quickstart", seeds=1).run(executor)
except ValueError as error:
    print(error)
if executor:
    try:
        run(RunConfig.load("quickstart"), "old", overwrite=True)
    except ValueError as error:
        print(error)
run(RunConfig.load("quickstart"), "old", overwrite=True)
"""


def test_a_script_without_a_guard_is_one_sentence_and_loses_nothing(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(SCRIPT)
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "config.yaml").write_text("name: old")
    done = subprocess.run(
        [sys.executable, "mine.py"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    sure, tried = done.stdout.splitlines()
    assert sure.startswith("line 8 of mine.py starts worker processes")
    assert tried.startswith("a worker process ended while it imported ")
    assert done.stderr.startswith("error: line 16 of mine.py starts worker processes")
    assert 'below `if __name__ == "__main__":`' in done.stderr and done.stderr.count("\n") == 1
    assert (tmp_path / "old" / "config.yaml").read_text() == "name: old"
    assert sorted(os.listdir(tmp_path)) == ["mine.py", "old"]


@pytest.mark.parametrize(
    ("source", "line", "found"),
    [
        ("run()", 1, True),
        ("import logging\nlog = logging.getLogger(__name__)\nrun(\n  1,\n)", 3, True),
        ("with pool():\n    run()", 2, True),
        ("if __name__ == '__main__':\n    run()", 2, False),
        ("with pool():\n    if main:\n        run()", 3, None),
        ("if __name__ != '__main__':\n    raise SystemExit\nrun()", 3, False),
        ("__name__ == '__main__' and run()", 1, False),
    ],
)
def test_a_guard_of_any_form_is_seen(source: str, line: int, found: bool | None) -> None:
    assert _runs_at_import(source, line) is found


def test_a_worker_that_imports_the_main_module_begins_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = RunConfig.load("quickstart")
    study = Study("quickstart", folder=tmp_path / "study")
    monkeypatch.setattr(current_process(), "_inheriting", True, raising=False)
    for begin in (lambda: run(config, tmp_path / "run"), study.run):
        with pytest.raises(SystemExit):
            begin()
    assert not list(tmp_path.iterdir())


def test_a_worker_that_cannot_import_the_main_module_is_explained(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def ended(*_: object) -> None:
        raise EOFError

    monkeypatch.setattr(SyncManager, "start", ended)
    pool = local_pool(RunConfig.load("quickstart"), Silent())
    with pytest.raises(InputError, match=r"again; put what starts the work below `if __name__"):
        pool.__enter__()
