"""A study: each run once; what fails is recorded; one table at the end."""

from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import yaml

from autolora_meta.config.run import RunConfig
from autolora_meta.errors import InputError
from autolora_meta.foundation.environment import environment, recorded
from autolora_meta.reporting.summary import summary
from autolora_meta.studies import work
from autolora_meta.studies.ahead import ahead
from autolora_meta.studies.study import Study
from autolora_meta.studies.table import StudyTable
from tests.end_to_end import Tiny, command
from tests.studies.stub_work import BASE, calls, retrain, search, study


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

    saved = next(row["id"] for row in table.failed if "learning_rate" in row["error"])
    (tmp_path / "mine" / "checkpoints" / saved).mkdir(parents=True)
    assert "were begun" not in ahead(study(tmp_path / "mine"))
    assert "1 of these jobs were begun" in ahead(study(tmp_path / "mine"), retry_failed=True)

    monkeypatch.setattr(work, "retrain_once", retrain)
    monkeypatch.setattr(work, "search_once", search)
    assert study(tmp_path / "mine").run(executor) == table  # failed runs are left alone
    assert study(tmp_path / "mine").run(executor, retry_failed=True) == whole
    assert not list((tmp_path / "mine" / "errors").iterdir())


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


@pytest.mark.slow
@pytest.mark.filterwarnings("default")  # what dask and its event loop warn of is theirs
def test_a_real_study_end_to_end(
    tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "mine.yaml"
    given = {
        "name": "mine",
        "question": "Does the budget matter?",
        "base": [
            str(tiny.config),
            "search.outer_steps=2",
            "retrain.start=search",
            "ranks.importance=layered",
        ],
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
    kinds = sorted(place.parent.name for place in (folder / "searches").glob("*/*/*/search"))
    assert kinds == ["learned", "plain"]
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
    assert dry.status == 0 and "6 runs, and 3 searches and measurements" in dry.out
    said = command("study", file, "--runs", tmp_path / "runs")
    assert said.status == 1, said.err  # as long as runs have failed
    assert "all 6 runs have ended before" in said.out and "Does the budget matter?" in said.out
    assert "no claim: uniform:2 minus uniform:1" in said.out
    assert (folder / "summary.md").read_text() in said.out
