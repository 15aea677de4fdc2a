"""A study that was stopped, broken or killed loses nothing and goes on."""

import multiprocessing
import os
import signal
import time
from concurrent.futures import BrokenExecutor, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from autolora_meta.config.run import RunConfig
from autolora_meta.errors import InputError
from autolora_meta.foundation.places import becomes
from autolora_meta.studies import searched, work
from autolora_meta.studies.ahead import ahead
from autolora_meta.studies.ledger import Ledger
from autolora_meta.studies.saved import CHECKPOINTS
from autolora_meta.studies.study import Study
from autolora_meta.studies.table import StudyTable
from tests.studies.stub_work import BASE, VARY, calls, retrain, study


class Breaking(ThreadPoolExecutor):
    """Somebody's executor that loses its workers after so many jobs."""

    def __init__(self, after: int) -> None:
        super().__init__(1)
        self.left = after

    def submit(self, *given: Any, **named: Any) -> Any:
        self.left -= 1
        if self.left < 0:
            raise BrokenExecutor("a worker died")
        return super().submit(*given, **named)


def test_a_broken_executor_is_said_and_loses_nothing(
    tmp_path: Path, executor: ThreadPoolExecutor
) -> None:
    whole = study(tmp_path / "whole").run(executor)
    with Breaking(8 + 4 + 3) as breaking, pytest.raises(InputError, match="another executor"):
        study(tmp_path / "mine").run(breaking)
    statuses = [row["status"] for row in StudyTable.load(tmp_path / "mine").rows]
    assert set(statuses) <= {"finished", "missing"} and "missing" in statuses
    assert study(tmp_path / "mine").run(executor) == whole


def test_a_study_that_is_stopped_has_a_table(
    tmp_path: Path, executor: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopping(config: RunConfig, *rest: Any) -> dict[str, Any]:
        if sum(1 for key in calls if " " not in key) == 5:
            raise KeyboardInterrupt
        time.sleep(0.05)  # so that those before it are recorded
        return retrain(config, *rest)

    monkeypatch.setattr(work, "retrain_once", stopping)
    with ThreadPoolExecutor(1) as one, pytest.raises(KeyboardInterrupt):
        study(tmp_path).run(one)
    assert 0 < len(StudyTable.load(tmp_path).finished) <= 5 * 2  # uniform serves two settings


def test_a_changed_file_is_not_mixed_with_what_was_run_on_the_old_one(
    tmp_path: Path, executor: ThreadPoolExecutor
) -> None:
    rows = tmp_path / "rows.csv"
    rows.write_text("text,label\nyes,1\n")
    model = tmp_path / "model"
    model.mkdir()
    (model / "config.json").write_text("{}")
    base = BASE | {"data": {"source": str(rows)}, "model": {"name": str(model)}}

    def mine(name: str, seeds: int) -> Study:
        return Study(base, vary=VARY, seeds=seeds, folder=tmp_path / name)

    mine("first", 1).run(executor)
    assert len(mine("first", 2).run(executor).finished) == 4 * 2
    for file in (rows, model / "config.json"):
        old = file.read_text()
        file.write_text(old + " ")
        with pytest.raises(InputError, match=r"(rows\.csv|model) changed since .*another name"):
            mine("first", 3).run(executor)
        file.write_text(old)
    rows.write_text("text,label\nno,0\n")
    assert len(mine("second", 1).run(executor).finished) == 4


def test_a_file_may_be_mended_where_nothing_has_finished_on_the_old_one(
    tmp_path: Path, executor: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = tmp_path / "rows.csv"
    rows.write_text("text,label\nyes,1\n")

    def failing(*arguments: Any) -> dict[str, Any]:
        raise InputError("no")

    def mine() -> Study:
        data = {"data": {"source": str(rows)}}
        return Study(BASE | data, arms=["uniform"], seeds=1, folder=tmp_path / "mine")

    with monkeypatch.context() as patched:
        patched.setattr(work, "retrain_once", failing)
        table = mine().run(executor)
    with pytest.raises(InputError, match=r"failed said: InputError: no; .*--retry-failed"):
        _ = table.finished
    rows.write_text("text,label\nno,0\n")
    assert len(mine().run(executor, retry_failed=True).finished) == 1


def test_half_done_work_goes_where_its_process_is_no_more(tmp_path: Path) -> None:
    place = tmp_path / "searches" / "key"
    killed = multiprocessing.get_context("fork").Process(target=half_done, args=(place,))
    killed.start()
    killed.join()
    with becomes(place):
        assert len(list(place.parent.iterdir())) == 2
        Ledger(tmp_path).sweep()
        (mine,) = place.parent.iterdir()
        assert f"-{os.getpid()}@" in mine.name
        (mine / "key").mkdir()
    assert list(place.parent.iterdir()) == [place]


def half_done(place: Path) -> None:
    """Kills its own process in the middle of a job."""
    with becomes(place):
        os.kill(os.getpid(), signal.SIGKILL)


def killed_study(folder: Path, after: int) -> None:
    """Kills its own process, as kill -9 does, in the middle of the run after so many."""

    def deadly(*arguments: Any) -> dict[str, Any]:
        if sum(1 for key in calls if " " not in key) == after:
            os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(0.1)  # so that those before it are recorded
        return retrain(*arguments)

    work.retrain_once = deadly
    with ThreadPoolExecutor(1) as one:
        study(folder).run(one)


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_killed_study_ends_with_the_table_of_one_that_was_not(
    tmp_path: Path, executor: ThreadPoolExecutor
) -> None:
    whole = study(tmp_path / "whole").run(executor)
    calls.clear()
    arguments = (tmp_path / "killed", 5)
    child = multiprocessing.get_context("fork").Process(target=killed_study, args=arguments)
    child.start()
    child.join(60)
    assert child.exitcode == -signal.SIGKILL
    ledger = Ledger(tmp_path / "killed")
    before = ledger.rows()
    assert 1 <= len(before) <= 5 and not (tmp_path / "killed" / "table.json").exists()
    with ledger.results.open("a") as file:
        file.write('{"id": "torn')  # a line that was being written
    assert study(tmp_path / "killed").run(executor) == whole
    assert not before.keys() & calls.keys()
    tables = [tmp_path / name / "table.json" for name in ("whole", "killed")]
    assert tables[0].read_bytes() == tables[1].read_bytes()
    assert len(ledger.results.read_text().splitlines()) == len({row["id"] for row in whole.rows})


def test_a_second_process_waits_or_is_refused(tmp_path: Path, executor: ThreadPoolExecutor) -> None:
    ledger, beside = Ledger(tmp_path), ThreadPoolExecutor(1)
    with ledger.writing({"study.yaml": "name: other"}):
        with pytest.raises(InputError, match=r"another process is working on .*--wait"):
            study(tmp_path).run(executor)
        waiting = beside.submit(study(tmp_path).run, executor, wait=True)
        assert not waiting.done() and not calls
    assert len(waiting.result(30).finished) == 16
    beside.shutdown()
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "file").touch()
    with pytest.raises(InputError, match="holds no study"):
        study(tmp_path / "other").run(executor)


def test_the_first_of_two_equal_jobs_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "searches" / "key"

    def search(wanted: object, config: RunConfig, folder: Path, _: Path) -> Any:
        for held, told in ((folder, "second"), (place, "first")):  # elsewhere, meanwhile
            held.mkdir(parents=True)
            (held / "search").write_text(told)
        return 1.0, None

    monkeypatch.undo()
    monkeypatch.setattr(searched, "_search", search)
    configs = [RunConfig.load(BASE)]
    assert work.search_once(configs, 0, "learned", place)["allocation_seconds"] == 1.0
    assert work.search_once(configs, 0, "learned", place) == {"seconds": 0.0}
    assert (place / "search").read_text() == "first" and list(place.parent.iterdir()) == [place]


@pytest.mark.parametrize("restart", [False, True])
def test_what_was_saved_of_a_job_is_there_when_it_begins_unless_anew(
    tmp_path: Path, executor: ThreadPoolExecutor, restart: bool
) -> None:
    study(tmp_path, seeds=1).run(executor)
    mine = study(tmp_path)
    job, *_ = mine.jobs(mine.left())
    saved = tmp_path / CHECKPOINTS / job.key
    saved.mkdir(parents=True)
    assert mine.begun() == 1
    assert ("1 of these jobs were begun" in ahead(mine, restart=restart)) != restart
    mine.run(executor, restart=restart)
    assert saved.exists() != restart  # work that takes no time reads none of it
