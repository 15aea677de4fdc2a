"""A study: each run once, whatever stops it; what fails is recorded; one table at the end."""

import multiprocessing
import os
import signal
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import BrokenExecutor, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import yaml

from autolora_meta.config.run import RunConfig
from autolora_meta.errors import InputError
from autolora_meta.foundation.environment import environment, recorded
from autolora_meta.foundation.places import becomes
from autolora_meta.reporting.summary import summary
from autolora_meta.studies import work
from autolora_meta.studies.ledger import Ledger
from autolora_meta.studies.options import read_study, shipped_studies
from autolora_meta.studies.plan import plan
from autolora_meta.studies.study import Study
from autolora_meta.studies.table import StudyTable
from tests.end_to_end import Tiny, command

BASE = {"name": "stub", "model": {"name": "none"}, "data": {"source": "none.csv"}}
VARY = {"search.hypergradient": ["darts", {"method": "cg", "iterations": 3}], "lora.k": [2, 4]}
calls: Counter[str] = Counter()


def search(configs: Sequence[RunConfig], seed: int, selection: str, place: Path) -> dict[str, Any]:
    calls[f"search {place.name}"] += 1
    place.mkdir(parents=True)
    return {"seconds": 0.1}


def measure(configs: Sequence[RunConfig], seed: int, arm: str, place: Path) -> dict[str, Any]:
    calls[f"measure {arm}"] += 1
    place.parent.mkdir(exist_ok=True)
    place.touch()
    return {"seconds": 0.1}


def retrain(
    config: RunConfig, seed: int, arm: str, place: Path, searches: Any, measured: Path | None
) -> dict[str, Any]:
    assert all(folder.is_dir() for folder in searches)
    assert measured is None or measured.is_file()
    calls[place.name] += 1
    value = config.lora.k + seed + (arm == "learned")
    return {
        "metrics": {"accuracy": value / 10, "cross_entropy": -value},
        "compared": ["accuracy"],
        "parameters": 100,
        "ranks": {"q": 1},
        "cost": 10.0,
        "seconds": 0.1,
    }


@pytest.fixture(autouse=True)
def stubs(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if "tiny" not in request.fixturenames:
        monkeypatch.setattr(work, "search_once", search)
        monkeypatch.setattr(work, "measure_once", measure)
        monkeypatch.setattr(work, "retrain_once", retrain)
    calls.clear()


@pytest.fixture
def executor() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(2) as threads:
        yield threads


def study(folder: Path, **changes: Any) -> Study:
    given = {"vary": VARY, "arms": ["learned", "uniform"], "seeds": range(2)} | changes
    return Study(BASE, folder=folder, **given)


def test_a_finished_run_is_never_run_again(tmp_path: Path, executor: ThreadPoolExecutor) -> None:
    table = study(tmp_path).run(executor)
    assert len(table.rows) == 2 * 2 * 2 * 2 and not table.failed
    # uniform reads no search, nor how one goes: it is run once for both hypergradients
    assert set(calls.values()) == {1} and len(calls) == 8 + 4 + 8
    assert study(tmp_path).run(executor) == table and set(calls.values()) == {1}
    more = study(tmp_path, seeds=range(3)).run(executor)
    assert set(calls.values()) == {1} and len(more.finished) == 24
    assert StudyTable.load(tmp_path) == more
    assert set(more.to_pandas()["search.hypergradient"]) == {"darts", "cg (iterations 3)"}
    assert recorded(tmp_path) == environment()


def test_one_search_serves_every_budget_of_its_arm(
    tmp_path: Path, executor: ThreadPoolExecutor
) -> None:
    budgets = {"ranks.budget": ["uniform:1", "uniform:2", 500]}
    study(tmp_path, vary=budgets, arms=["learned", "shuffled"], seeds=[3]).run(executor)
    assert sum(key.startswith("search") for key in calls) == 1 and len(calls) == 1 + 3 * 2


def test_what_an_arm_measures_serves_every_budget(
    tmp_path: Path, executor: ThreadPoolExecutor
) -> None:
    vary = {"ranks.budget": ["uniform:1", "uniform:2", 64]}
    arms = ["para", "eva", "prilora", "adalora"]  # costly; nothing to share; depends on the budget
    study = Study(BASE, vary=vary, arms=arms, seeds=2, folder=tmp_path / "study")
    study.run(executor)
    measured = {name: n for name, n in calls.items() if name.startswith("measure")}
    assert measured == {"measure para": 2, "measure eva": 2}
    jobs = Study(BASE, vary=vary, arms=["para"], seeds=1, folder=tmp_path / "other").jobs
    one = study.planned[0]
    plain, alone = one.config.retrain.steps, one.config.search.total_work("learned")
    assert sorted(job.work for job in jobs([one])) == sorted([plain, alone])


def test_what_fails_is_recorded_and_stops_nothing_else(
    tmp_path: Path, executor: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = study(tmp_path / "whole").run(executor)

    def failing(config: RunConfig, seed: int, arm: str, *rest: Any) -> dict[str, Any]:
        if (config.lora.k, seed, arm) == (4, 1, "uniform"):
            raise InputError("lower retrain.learning_rate")
        return retrain(config, seed, arm, *rest)

    def lost(configs: Sequence[RunConfig], seed: int, *rest: Any) -> dict[str, Any]:
        if (configs[0].lora.k, seed) == (2, 0):
            raise RuntimeError("no such model")
        return search(configs, seed, *rest)

    monkeypatch.setattr(work, "retrain_once", failing)
    monkeypatch.setattr(work, "search_once", lost)
    table = study(tmp_path / "mine").run(executor)
    errors = Counter(row["error"] for row in table.failed)
    assert errors == {
        "InputError: lower retrain.learning_rate": 2,
        "what it needs failed: RuntimeError: no such model": 2,
    }
    assert len(table.finished) == 12
    (trace, *_) = (tmp_path / "mine" / "errors").iterdir()
    assert "Traceback" in trace.read_text()
    contrasts = table.compare("arm", baseline="uniform")
    assert {c.missing for c in contrasts} == {(0,), (1,)}
    assert "left out, not finished: seed 1" in contrasts[-1].sentence

    monkeypatch.setattr(work, "retrain_once", retrain)
    monkeypatch.setattr(work, "search_once", search)
    assert study(tmp_path / "mine").run(executor) == table  # failed runs are left alone
    assert study(tmp_path / "mine").run(executor, retry_failed=True) == whole
    assert not list((tmp_path / "mine" / "errors").iterdir())


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


def test_data_that_no_run_could_use_are_refused_before_any_begins(tmp_path: Path) -> None:
    rows = tmp_path / "rows.csv"
    rows.write_text("review,stars\ngood,5\n")
    base = BASE | {"data": {"source": str(rows)}}
    with pytest.raises(InputError, match="review, stars"):
        Study(base, arms=["uniform"], folder=tmp_path / "mine").run()
    with pytest.raises(InputError, match=r"none\.csv"):
        Study(BASE, arms=["uniform"], folder=tmp_path / "mine").run()
    assert not (tmp_path / "mine").exists()


def test_one_unusable_point_stops_no_other_also_of_a_study_that_goes_on(
    tmp_path: Path, executor: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    good, bad = tmp_path / "good.csv", tmp_path / "bad.csv"
    good.write_text("text,label\n" + "yes,1\nno,0\n" * 9)
    bad.write_text("review,stars\ngood,5\n")
    sizes = {f"data.{part}_rows": 6 for part in ("train", "validation", "test")}
    base = [BASE, *({"data": {key[5:]: size}} for key, size in sizes.items())]

    def mine() -> Study:
        vary = {"data.source": [str(bad), str(good)]}
        return Study(base, vary=vary, arms=["uniform"], seeds=2, folder=tmp_path / "mine")

    def failing(config: RunConfig, *others: Any) -> dict[str, Any]:
        if config.data.source == str(bad):
            raise InputError("no such column")
        return retrain(config, *others)

    monkeypatch.setattr(work, "retrain_once", failing)
    table = mine().run(executor)
    assert (len(table.finished), len(table.failed)) == (2, 2)
    mine().check()  # what is left is unusable, and something has finished
    bad.write_text("text,label\nyes,1\n")
    monkeypatch.setattr(work, "retrain_once", retrain)
    assert len(mine().run(executor, retry_failed=True).finished) == 4  # only the mended one is read
    good.write_text("text,label\nno,1\n")
    with pytest.raises(InputError, match=r"good\.csv changed"):
        mine().run(executor)


def test_a_study_says_which_rows_and_classes_it_reads(tiny: Tiny, tmp_path: Path) -> None:
    said: list[str] = []
    vary = {"lora.k": [2, 3]}
    Study(tiny.config, vary=vary, arms=["uniform"], folder=tmp_path / "mine").check(said.append)
    assert said[0].startswith("rows of the first run, seed 0:\ncolumns read: text = text")
    assert said[0].endswith("animal 10, 11, 29; colour 11, 10, 29; number 11, 11, 28")


def test_a_study_says_what_its_folder_holds_beside_what_it_asks_for(
    tmp_path: Path, executor: ThreadPoolExecutor
) -> None:
    study(tmp_path).run(executor)
    smaller = study(tmp_path, seeds=[0])
    assert smaller.beside() == 6 and study(tmp_path).beside() == 0  # `uniform` serves two points
    assert smaller.left() == []


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


def test_a_study_given_in_python_says_what_is_asked_of_it(tmp_path: Path) -> None:
    asked = [{"key": "lora.k", "baseline": 4}]
    mine = study(tmp_path, contrasts=asked, question="Is more better?")
    (one,) = mine.options.asked()
    assert (one.key, one.baseline, mine.options.question) == ("lora.k", 4, "Is more better?")
    with pytest.raises(InputError, match=r"5 is no value of lora\.k"):
        study(tmp_path, contrasts=[{"key": "lora.k", "baseline": 5}])


def killed_study(folder: Path, after: int) -> None:
    """Kills its own process, as kill -9 does, in the middle of the run after so many."""

    def deadly(*arguments: Any) -> dict[str, Any]:
        if sum(1 for key in calls if " " not in key) == after:
            os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(0.02)  # so that those before it are recorded
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
    assert 4 <= len(before) <= 5 and not (tmp_path / "killed" / "table.json").exists()
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


def test_equal_settings_are_one_run(tmp_path: Path, executor: ThreadPoolExecutor) -> None:
    vary = {"search.hypergradient": ["darts", {"method": "darts"}]}
    table = study(tmp_path, vary=vary, arms=["uniform"], seeds=[0]).run(executor)
    assert len(table.rows) == 2 and len(calls) == 1
    assert table.rows[0]["metrics"] == table.rows[1]["metrics"]
    base = study(tmp_path, vary={}, variants={"a": [], "b": "lora.k=3"}, arms=["learned"])
    assert base.options.keys == ("variant", "arm")
    assert {run.config.lora.k for run in base.planned} == {8, 3}
    wide = Study({**BASE, "runtime": {"workers": 3}}, folder=tmp_path, seeds=[0])
    narrow = Study({**BASE, "compare": {"replicates": 9}}, folder=tmp_path, seeds=[0])
    assert [r.id for r in wide.planned] == [r.id for r in narrow.planned]


def test_where_a_retraining_starts_matters_to_arms_that_read_a_search_alone() -> None:
    vary = {"retrain.start": ["scratch", "search"]}
    planned = Study(BASE, vary=vary, arms=["learned", "uniform"], seeds=[0]).planned
    ids = {arm: {run.id for run in planned if run.arm == arm} for arm in ("learned", "uniform")}
    assert (len(ids["learned"]), len(ids["uniform"])) == (2, 1)


def test_how_a_search_is_read_matters_to_arms_that_read_one_alone() -> None:
    vary = {"ranks.importance": ["product", "alpha"], "ranks.per": ["component", "parameter"]}
    arms = ["learned", "shuffled", "uniform", "sara", "eva", "adalora"]
    planned = Study(BASE, vary=vary, arms=arms, seeds=[0]).planned
    ids = {arm: len({run.id for run in planned if run.arm == arm}) for arm in arms}
    assert ids == {"learned": 4, "shuffled": 4, "uniform": 1, "sara": 1, "eva": 1, "adalora": 1}


def test_equal_cost_lengthens_the_retraining_of_what_chose_for_less() -> None:
    vary = {"compare.equal_cost": [False, True]}
    arms = ["learned", "frozen", "eva", "uniform", "uniform_longer"]
    study = Study("quickstart", vary=vary, arms=arms, seeds=[0])
    steps: dict[str, list[int]] = {arm: [] for arm in arms}
    for run in study.planned:
        steps[run.arm].append(work.effective(run.config, run.arm).retrain.steps)
    search = study.planned[0].config.search
    learned, frozen = (search.total_work(s) for s in ("learned", "frozen"))
    assert steps["learned"] == [70, 70] and steps["frozen"] == [70, 70 + int(learned - frozen)]
    assert steps["uniform"] == [70, 70 + int(learned)]
    assert steps["uniform_longer"] == [70 + int(learned)] * 2
    assert work.effective(study.planned[-1].config, "eva", spent=16).retrain.steps == 54 + int(
        learned
    )
    assert work.effective(study.planned[-1].config, "eva", spent=999).retrain.steps == 70
    ids = {arm: len({run.id for run in study.planned if run.arm == arm}) for arm in arms}
    assert ids == {"learned": 1, "frozen": 2, "eva": 2, "uniform": 2, "uniform_longer": 1}


def test_metrics_of_interest_are_the_studys_to_say(
    tmp_path: Path, executor: ThreadPoolExecutor
) -> None:
    given = {"vary": {}, "arms": ["learned", "grid"], "seeds": [0]}
    assert study(tmp_path, **given).run(executor).metrics == ["accuracy"]
    base = {**BASE, "compare": {"metrics": ["cross_entropy"]}}
    table = Study(base, folder=tmp_path, **given).run(executor)
    assert table.metrics == ["cross_entropy"]
    assert Counter(calls.values()) == {1: 4}  # grid chooses by it, and is run again


def test_the_first_of_two_equal_jobs_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "searches" / "key"

    def searched(config: RunConfig, seed: int, selection: str, folder: Path) -> Any:
        for held, told in ((folder, "second"), (place, "first")):  # elsewhere, meanwhile
            held.mkdir(parents=True)
            (held / "search").write_text(told)
        return 1.0, None

    monkeypatch.undo()
    monkeypatch.setattr(work, "_search", searched)
    configs = [RunConfig.load(BASE)]
    assert work.search_once(configs, 0, "learned", place)["allocation_seconds"] == 1.0
    assert work.search_once(configs, 0, "learned", place) == {"seconds": 0.0}
    assert (place / "search").read_text() == "first" and list(place.parent.iterdir()) == [place]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"vary": {"lora.kk": [1, 2]}}, r"(?s)did you mean 'lora\.k'"),
        ({"vary": {"lora.k": 4}}, r"takes a list of values"),
        ({"vary": {"lora.k": [4, 4]}}, "each once"),
        ({"vary": {"seed": [1]}}, "give seeds"),
        ({"vary": {}, "arms": ["learnt"]}, "did you mean 'learned'"),
        ({"vary": {}, "seeds": [1, 1]}, "each once"),
        ({"vary": {}, "seeds": 0}, "seeds: 0 replicates are none"),
        ({"vary": {}, "arms": []}, "arms: should have at least 1"),
    ],
)
def test_mistakes_are_said_before_anything_runs(
    changes: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=message):
        study(tmp_path / "none", **changes)
    assert not (tmp_path / "none").exists()


def test_mistakes_of_all_points_are_said_at_once(tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        study(tmp_path, vary={"lora.k": [4, -1, "x"], "search.outer_steps": [3]})
    assert "lora.k -1, search.outer_steps 3" in str(caught.value)
    assert "lora.k x, search.outer_steps 3" in str(caught.value)


@pytest.mark.parametrize("name", shipped_studies())
def test_a_shipped_study_resolves_in_both_sizes(name: str) -> None:
    whole, small = read_study(name), read_study(f"studies/{name}", smoke=True)
    assert whole.name == name and small.name == f"{name}-smoke" and whole.question
    assert len(plan(small)) <= 9 < len(plan(whole))
    assert max(run.config.search.outer_steps for run in plan(small)) <= 3
    assert len(whole.seeds) >= 3


def test_a_study_from_a_file_with_changes(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(yaml.safe_dump({"name": "mine", "base": BASE, "vary": VARY, "seeds": 2}))
    changes = ["seeds=3", "vary.lora.k=[3]", "search.outer_steps=7", "arms=[uniform]"]
    found = Study.load(file, *changes, folder=tmp_path / "mine")
    assert len(found.planned) == 2 * 3
    assert {(r.config.search.outer_steps, r.config.lora.k) for r in found.planned} == {(7, 3)}
    again = tmp_path / "again.yaml"
    again.write_text(found.options.to_yaml())
    assert [r.id for r in Study.load(again).planned] == [r.id for r in found.planned]
    with pytest.raises(InputError, match="gives no smoke size"):
        Study.load(file, smoke=True)
    with pytest.raises(InputError, match="did you mean 'targets'"):
        Study.load("target")


@pytest.mark.slow
@pytest.mark.filterwarnings("default")  # what dask and its event loop warn of is theirs
def test_a_real_study_end_to_end(
    tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "mine.yaml"
    given = {
        "name": "mine",
        "question": "Does the budget matter?",
        "base": [str(tiny.config), "search.outer_steps=2", "retrain.start=search"],
        "vary": {"ranks.budget": [1, "uniform:1", "uniform:2"]},
        "arms": ["learned", "para"],
        "seeds": 1,
        "contrasts": [{"key": "ranks.budget", "baseline": "uniform:1"}],
    }
    file.write_text(yaml.safe_dump(given))
    folder = tmp_path / "runs" / "mine"
    table = Study.load(file, folder=folder).run()  # a process of its own
    # A budget that nothing fits in fails alone, though it comes first of those that share a search.
    assert ["budget of 1 parameters" in row["error"] for row in table.failed] == [True, True]
    spent = [(row["arm"], row["parameters"]) for row in table.finished]
    assert spent == [(a, n * 4 * 32) for n in (1, 2) for a in ("learned", "para")]
    assert len(list((folder / "searches").iterdir())) == 1
    assert len(list((folder / "measured").iterdir())) == 1
    assert [row["blind"] for row in table.finished] == [True, False] * 2  # in two outer steps
    assert "learned 2 of 2" in summary(table)
    costs = [row["cost"] for row in table.finished if row["arm"] == "para"]
    steps = RunConfig.load(tiny.config).retrain.steps
    assert costs[0] == costs[1] > steps  # what was measured once counts at both budgets
    for row in table.finished:
        assert (folder / "runs" / row["id"] / "0" / row["arm"] / "ranks.json").is_file()
        assert RunConfig.load(folder / "runs" / row["id"] / "config.yaml").lora.k == 3
    distributed = pytest.importorskip("distributed")
    with (  # one process for two jobs, which are not to disturb each other
        distributed.LocalCluster(
            n_workers=1, threads_per_worker=2, dashboard_address=None, memory_limit=0
        ) as cluster,
        distributed.Client(cluster) as client,
        client.get_executor() as dask,
    ):
        again = Study.load(file, folder=tmp_path / "again").run(dask)
    assert again == table and again.took.keys() == table.took.keys()
    seconds = [again.took[row["id"]].seconds for row in again.finished if row["arm"] == "learned"]
    assert len(seconds) == 2 and min(seconds) > 0  # with the search that they share
    own = folder / "runs" / table.finished[0]["id"]  # its adapter, as the study's page says
    ranks, adapter = own / "0" / "learned" / "ranks.json", tmp_path / "adapter"
    said = command("retrain", own, "--ranks", ranks, "--output", adapter)
    assert said.status == 0, said.err
    assert f"accuracy: {table.finished[0]['metrics']['accuracy']:.4f}" in said.out
    monkeypatch.setattr(work, "retrain_once", None)  # nothing is left to do
    dry = command("study", file, "seeds=2", "--runs", tmp_path / "runs", "--dry-run")
    assert dry.status == 0 and "6 runs, and 2 searches and measurements" in dry.out
    said = command("study", file, "--runs", tmp_path / "runs")
    assert said.status == 1, said.err  # as long as runs have failed
    assert "all 6 runs have ended before" in said.out and "Does the budget matter?" in said.out
    assert "no claim: uniform:2 minus uniform:1" in said.out
    assert (folder / "summary.md").read_text() in said.out
