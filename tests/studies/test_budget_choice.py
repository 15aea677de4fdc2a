"""`ranks.budget: auto`: one choice for all arms and replicates of a run, kept, told, paid for."""

from pathlib import Path

import pytest
import yaml

from autolora_meta.allocators import budget_choice
from autolora_meta.allocators.budget_choice import BudgetChoice
from autolora_meta.config.run import RunConfig
from autolora_meta.errors import InputError
from autolora_meta.foundation.cost import plain_steps
from autolora_meta.studies.study import Study
from autolora_meta.studies.table import StudyTable
from tests.end_to_end import Tiny, command
from tests.studies.stub_work import study

AUTO = {"vary": {"lora.k": [4]}, "seeds": [3, 4]}
MORE = (
    "ranks.budget=auto",
    "ranks.importance=product",
    "compare.arms=[learned,uniform]",
    "runtime.stack=20",
)


def of_auto(folder: Path) -> Study:
    made = study(folder, **AUTO)
    base = made.base.model_dump(mode="json") | {"ranks": {"budget": "auto"}}
    return Study(base, arms=["learned", "uniform"], seeds=[3, 4], folder=folder)


def test_one_choice_by_the_first_seed_comes_before_all_runs(tmp_path: Path) -> None:
    made = of_auto(tmp_path)
    (choice,) = {run.choice.key: run.choice for run in made.planned if run.choice}.values()
    assert choice.seed == 3 and {*choice.searches} == {"learned", "plain"}
    jobs = {job.key: job for job in made.jobs(made.planned)}
    assert jobs[choice.key].needs == {*choice.searches.values()} <= jobs.keys()
    assert all(choice.key in jobs[run.id].needs for run in made.planned)
    kept = made.planned[0]
    other = Study(made.base, arms=["learned", "uniform"], seeds=[4, 3], folder=tmp_path)
    assert kept.id not in {run.id for run in other.planned}  # another seed would choose


def test_a_budget_that_is_given_needs_no_choice(tmp_path: Path) -> None:
    assert all(run.choice is None for run in study(tmp_path).planned)


def test_patience_cannot_watch_ranks_at_a_budget_that_is_not_known() -> None:
    with pytest.raises(InputError, match=r"search.patience 3 .*; set search.patience to null"):
        RunConfig.load("quickstart", "ranks.budget=auto", "search.patience=3")


@pytest.fixture(scope="module")
def run(tiny: Tiny, tmp_path_factory: pytest.TempPathFactory) -> Path:
    runs = tmp_path_factory.mktemp("auto")
    said = command("run", tiny.config, "name=auto", *MORE, "--runs", runs)
    assert said.status == 0, said.err
    return runs / "auto"


def choice_in(folder: Path) -> BudgetChoice:
    (file,) = folder.glob("budgets/*.json")
    return BudgetChoice.load(file)


def test_all_arms_and_replicates_are_at_the_budget_that_was_chosen(tiny: Tiny, run: Path) -> None:
    choice, table = choice_in(run), StudyTable.load(run)
    assert [one.name for one in choice.tried] == [
        *("uniform:1/4", "uniform:1/2", "uniform:1", "uniform:2", "uniform:3")
    ]
    taken, best = choice.tried[choice.chosen], choice.tried[choice.best]
    assert taken.difference is not None and taken.standard_error is not None
    assert taken.difference <= taken.standard_error and best.difference == 0
    assert choice.rows == 64
    assert {row["parameters"] for row in table.finished} == {taken.parameters}
    assert len(table.finished) == 4
    configs = run.glob("runs/*/config.yaml")
    budgets = {yaml.safe_load(file.read_text())["ranks"]["budget"] for file in configs}
    assert budgets == {taken.budget}


def test_the_price_is_that_of_learned_alone(run: Path) -> None:
    choice, table = choice_in(run), StudyTable.load(run)
    price = plain_steps(choice.spent.cost)
    assert price == pytest.approx(5 * 4 * (4 + 0.5))  # budgets, folds, steps and a batch to score
    cost = {row["arm"]: row["cost"] for row in table.finished}
    assert cost["uniform"] == 4
    search = RunConfig.load(run / "config.yaml").search.total_work("learned")
    assert cost["learned"] == pytest.approx(4 + price + search, rel=0.2)


def test_a_run_goes_on_with_the_choice_that_it_made(
    tiny: Tiny, run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*given: object) -> None:
        raise AssertionError("chosen again")

    monkeypatch.setattr(budget_choice, "cross_fit", never)
    before = choice_in(run)
    for place in run.glob("runs/*"):
        assert place.is_dir()
    again = Study.of(RunConfig.load(tiny.config, "name=auto", *MORE), run)
    assert not again.left()
    (choice,) = {r.choice.key: r.choice for r in again.planned if r.choice}.values()
    assert choice.key not in {job.key for job in again.jobs(again.planned)}
    assert choice_in(run) == before


def test_a_damaged_choice_is_refused(run: Path, tmp_path: Path) -> None:
    (file,) = run.glob("budgets/*.json")
    other = tmp_path / "damaged.json"
    other.write_bytes(file.read_bytes().replace(b'"chosen": ', b'"chosen": 1'))
    with pytest.raises(InputError, match="remove it, and the same command chooses the budget"):
        BudgetChoice.load(other)


def test_page_summary_and_figure_tell_the_choice(run: Path) -> None:
    choice = choice_in(run)
    taken = choice.tried[choice.chosen]
    summary, page = (run / "summary.md").read_text(), (run / "report.html").read_text()
    for said in (summary, page):
        assert f"{taken.name} is chosen, {taken.parameters:,} parameters" in said
        assert "How much rank" in said and "counted for learned alone" in said
        assert all(one.name in said for one in choice.tried)
    assert {file.suffix for file in run.glob("figures/budget.*")} == {".png", ".svg", ".pdf"}


def test_a_stored_search_cannot_choose(tiny: Tiny, run: Path, tmp_path: Path) -> None:
    for said in (
        command("allocate", run, "budget=auto"),
        command("search", tiny.config, "ranks.budget=auto", "--runs", tmp_path),
    ):
        assert said.status == 2 and "cannot be judged without that" in said.err
        assert "'uniform:R'" in said.err and "Traceback" not in said.err
    assert not [*tmp_path.iterdir()]
    ranks = command("allocate", run)  # at the budget that the run chose
    choice = choice_in(run)
    assert f"{choice.tried[choice.chosen].parameters:,} parameters" in ranks.out
