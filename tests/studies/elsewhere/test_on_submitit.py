"""submitit as an executor: really on this machine, and on a Slurm that scripts play."""

import os
import time
from collections.abc import Iterator
from concurrent.futures import BrokenExecutor, Future
from pathlib import Path

import psutil
import pytest
import submitit

from autolora_meta.errors import InputError
from autolora_meta.studies.elsewhere import on_submitit, slurm_queue
from autolora_meta.studies.elsewhere.on_submitit import SubmititExecutor
from autolora_meta.studies.executor import Job, run_jobs
from tests.studies.sample_jobs import DIVIDE, ended, holds, no_pool


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(on_submitit, "_LOOK", 0.05)
    monkeypatch.setattr(on_submitit, "_LATE", 0.3)
    monkeypatch.setattr(slurm_queue, "_SECONDS", 0.1)


@pytest.fixture
def here(tmp_path: Path) -> Iterator[SubmititExecutor]:
    with SubmititExecutor(submitit.AutoExecutor(tmp_path, cluster="local"), most=2) as executor:
        yield executor


def test_jobs_on_this_machine_and_one_that_dies(here: SubmititExecutor) -> None:
    outcomes = ended([*DIVIDE, Job("dies", os._exit, (9,), if_killed="lower lora.k")], here)
    holds(outcomes)
    said = outcomes["dies"].error or ""
    assert said.startswith("its process died (killed, or out of memory): ")
    assert said.endswith("_log.err has its last words; lower lora.k")
    assert outcomes["dies"].failure is None and here.died


@pytest.mark.filterwarnings("default")  # submitit does not wait for a process that it ends
def test_what_is_called_off_ends_its_process(here: SubmititExecutor) -> None:
    outcomes = run_jobs([Job(str(i), time.sleep, (i * 60,)) for i in range(4)], here, no_pool)
    assert next(outcomes).job.key == "0"
    begun = psutil.Process().children(recursive=True)
    assert begun
    outcomes.close()
    here.shutdown()
    _, alive = psutil.wait_procs(begun, timeout=20)
    assert not [process for process in alive if process.status() != psutil.STATUS_ZOMBIE]


def plays_slurm(place: Path, monkeypatch: pytest.MonkeyPatch, **scripts: str) -> SubmititExecutor:
    """An executor on a Slurm whose commands are these lines of shell."""
    programs = place / "programs"
    programs.mkdir()
    for name, line in ({"srun": "exit 1"} | scripts).items():
        (programs / name).write_text(f"#!/bin/sh\n{line}\n", encoding="utf-8")
        (programs / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:/usr/bin:/bin")
    return SubmititExecutor(submitit.AutoExecutor(place / "logs", cluster="slurm"))


def test_a_job_that_left_the_queue_without_an_answer_has_died(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slurm = plays_slurm(
        tmp_path,
        monkeypatch,
        sbatch="echo Submitted batch job 7",
        squeue="cat queue",
        scancel="echo $1 >> cancelled",
    )
    monkeypatch.chdir(tmp_path)
    (tmp_path / "queue").write_text("7_0\n7_1\n", encoding="utf-8")
    first, second = slurm.submit(abs, -1), slurm.submit(abs, -2)
    time.sleep(1)
    assert not first.done() and not second.done()
    (tmp_path / "queue").write_text("7_1\n", encoding="utf-8")
    assert "its process died" in str(first.exception(timeout=20)) and not second.done()
    slurm.shutdown(cancel_futures=True)
    assert second.cancelled() and (tmp_path / "cancelled").read_text() == "7_1\n"


def test_what_sbatch_refuses_breaks_the_executor(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refusal = "echo sbatch: error: invalid partition specified: cloud >&2; exit 1"
    slurm = plays_slurm(tmp_path, monkeypatch, sbatch=refusal, squeue="exit 0", sacct="exit 1")
    with pytest.raises(BrokenExecutor, match="invalid partition specified: cloud"):
        ended(DIVIDE, slurm)
    slurm.shutdown()


def test_a_queue_that_does_not_answer_tells_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert slurm_queue.SlurmQueue().lacks("7", 0.0) is None


def test_what_would_run_in_this_process_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="runs calls in this process; take 'local' or 'slurm'"):
        SubmititExecutor(submitit.AutoExecutor(tmp_path, cluster="debug"))


def test_a_call_that_cannot_be_read_there_says_why(here: SubmititExecutor) -> None:
    future: Future[None] = here.submit(Unreadable())
    error = str(future.exception(timeout=30))
    assert "submitit has no answer (ImportError: of another environment)" in error


class Unreadable:
    """A call that the other process cannot read."""

    def __call__(self) -> None: ...

    def __reduce__(self) -> tuple[object, ...]:
        return exec, ("raise ImportError('of another environment')",)
