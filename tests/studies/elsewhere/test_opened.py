"""Executors by name: what cannot be opened is a sentence."""

from pathlib import Path

import pytest

from autolora_meta.errors import InputError
from autolora_meta.studies.elsewhere import package
from autolora_meta.studies.elsewhere.opened import opened
from tests.end_to_end import command
from tests.studies.sample_jobs import DIVIDE, ended, holds


def refusal(name: str, *options: str, folder: Path) -> str:
    with pytest.raises(InputError) as raised, opened(name, options, folder):
        raise AssertionError("it was opened")
    return str(raised.value)


def test_an_unknown_executor_or_option(tmp_path: Path) -> None:
    said = refusal("slurm", folder=tmp_path)
    assert said == "unknown executor 'slurm'; allowed: dask, local, ray, submitit"
    assert "runtime.workers" in refusal("local", "workers=2", folder=tmp_path)
    assert "'speed' is not key=value" in refusal("submitit", "speed", folder=tmp_path)
    said = refusal("submitit", "cluster=local", "slurm_partitoin=gpu", folder=tmp_path / "mine")
    assert "executor 'submitit' cannot be opened" in said and "slurm_partitoin" in said
    said = refusal("submitit", "cluster=local", "most=0", folder=tmp_path / "mine")
    assert said == "most=0 is no number of jobs; give 1 or more, or leave it out"


def test_a_package_that_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(package, "find_spec", lambda name: None)
    for name in ("dask", "ray", "submitit"):
        said = refusal(name, folder=tmp_path)
        assert f"executor '{name}' needs" in said
        assert f'pip install "autolora-meta[{name}]"' in said


def test_submitit_leaves_nothing_where_all_went_well(tmp_path: Path) -> None:
    study = tmp_path / "runs" / "mine"
    with opened("submitit", ["cluster=local", "timeout_min=5"], study) as executor:
        holds(ended(DIVIDE, executor))
        (logs,) = (tmp_path / "runs" / ".submitit").iterdir()
        assert logs.stat().st_mode & 0o077 == 0  # whoever writes there runs code
    assert not logs.exists() and not study.exists()


def test_the_command_line_asks_for_one(tmp_path: Path) -> None:
    said = command("study", "controls", "--runs", tmp_path, "--executor", "rey")
    assert said.status == 2 and "unknown executor 'rey' (did you mean 'ray'?)" in said.err
