"""The plan of a study: what tells runs apart, and mistakes that are said before anything runs."""

import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import yaml

from autolora_meta.errors import InputError
from autolora_meta.studies.chosen import effective
from autolora_meta.studies.options import read_study, shipped_studies
from autolora_meta.studies.plan import plan
from autolora_meta.studies.study import Study
from tests.studies.stub_work import BASE, VARY, calls, study


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
        steps[run.arm].append(effective(run.config, run.arm).retrain.steps)
    config = study.planned[0].config
    learned, plain = config.learned_work, config.search.total_work("plain")  # what `frozen` reads
    assert learned == config.search.total_work("learned") + plain
    assert steps["learned"] == [70, 70] and steps["frozen"] == [70, 70 + int(learned - plain)]
    assert steps["uniform"] == [70, 70 + int(learned)]
    assert steps["uniform_longer"] == [70 + int(learned)] * 2
    assert effective(study.planned[-1].config, "eva", spent=16).retrain.steps == 54 + int(learned)
    assert effective(study.planned[-1].config, "eva", spent=999).retrain.steps == 70
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


def test_a_study_given_in_python_says_what_is_asked_of_it(tmp_path: Path) -> None:
    asked = [{"key": "lora.k", "baseline": 4}]
    mine = study(tmp_path, contrasts=asked, question="Is more better?")
    (one,) = mine.options.asked()
    assert (one.key, one.baseline, mine.options.question) == ("lora.k", 4, "Is more better?")
    with pytest.raises(InputError, match=r"5 is no value of lora\.k"):
        study(tmp_path, contrasts=[{"key": "lora.k", "baseline": 5}])


@pytest.mark.parametrize("change", ["seeds=100000", "seeds=1000000000", "seeds=5000"])
def test_more_runs_than_a_table_holds_are_refused_at_once(change: str) -> None:
    start = time.process_time()
    with pytest.raises(InputError, match=r"10,000 (runs )?(at most|are allowed)"):
        Study.load("hypergradients", change)
    assert time.process_time() - start < 5


def test_ten_thousand_runs_are_planned_in_seconds(tmp_path: Path) -> None:
    start = time.process_time()
    planned = Study(BASE, arms=["learned"], seeds=range(10_000), folder=tmp_path).planned
    assert len({run.id for run in planned}) == 10_000
    assert time.process_time() - start < 20
