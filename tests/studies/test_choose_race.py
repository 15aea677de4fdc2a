"""`ranks.choose: race`: the run leaves the ranks and the adapter that held-out rows prefer."""

import json
import math
from pathlib import Path

import pytest

from autolora_meta.allocators.race import FILE, Outcome
from autolora_meta.config.run import RunConfig
from autolora_meta.exporting.stored import read_adapter
from autolora_meta.ranks.pattern import RankPattern
from autolora_meta.reporting.race import races
from autolora_meta.reporting.ranked import read_ranked
from autolora_meta.studies.schema import pattern_of
from autolora_meta.studies.study import Study
from autolora_meta.studies.table import StudyTable
from tests.end_to_end import Tiny, command

RACE = ("ranks.choose=race", "compare.arms=[uniform]", "compare.replicates=1")
SMALL = ("ranks.importance=product", "lora.targets=[query]", "retrain.steps=2", "runtime.stack=64")


def test_the_arm_is_compared_without_being_named_and_leads() -> None:
    config = RunConfig.load("quickstart", "ranks.choose=race")
    assert config.compare.arms == ("race", "learned", "uniform", "shuffled", "frozen")
    study = Study.of(config)
    assert study.options.primary().arms == ("race", "uniform")
    assert study.first is not None and study.first.arm == "race"


def test_whose_adapter_is_kept_changes_no_run() -> None:
    plain = Study.of(RunConfig.load("quickstart", "compare.arms=[learned, uniform, race]"))
    race = Study.of(
        RunConfig.load("quickstart", "compare.arms=[learned, uniform, race]", "ranks.choose=race")
    )
    assert plain.every.keys() == race.every.keys()


@pytest.fixture(scope="module")
def run(tiny: Tiny, tmp_path_factory: pytest.TempPathFactory) -> Path:
    runs = tmp_path_factory.mktemp("chosen")
    said = command("run", tiny.config, "name=race", *RACE, *SMALL, "--runs", runs)
    assert said.status == 0, said.err
    return runs / "race"


@pytest.mark.slow
def test_a_run_leaves_the_ranks_and_the_adapter_of_the_winner(run: Path) -> None:
    table = StudyTable.load(run)
    assert table.values("arm") == ["race", "uniform"]
    pattern = RankPattern.load(run / "ranks.json")
    row = next(row for row in table.rows if row["arm"] == "race")
    assert pattern_of(dict(pattern)) == row["pattern"]
    assert dict(pattern) == dict(read_ranked(run).pattern)
    kept = {name: rank for name, rank in dict(pattern).items() if rank}
    assert dict(read_adapter(run / "adapter").pattern) == kept
    ((_, outcome),) = races(table, run)[""]
    page = (run / "report.html").read_text()
    assert f"The race was won by the ranks of: {outcome.winner}." in page
    assert all(each.name in page for each in outcome.standings)
    assert "judged on held-out rows" in (run / "adapter" / "README.md").read_text()


def test_a_search_alone_cannot_judge(tmp_path: Path) -> None:
    said = command("search", "quickstart", "ranks.choose=race", "--runs", tmp_path)
    assert said.status == 2 and "judges ranks by retraining" in said.err
    assert not list(tmp_path.iterdir())


def test_a_race_is_read_by_names(tmp_path: Path) -> None:
    one = {"steps": 4, "standard_error": None, "difference": -0.5, "name": "eva"}
    (tmp_path / FILE).write_text(json.dumps({"standings": [one], "winner": "eva"}))
    (standing,) = Outcome.load(tmp_path).standings
    assert (standing.name, standing.steps, standing.difference) == ("eva", 4, -0.5)
    assert math.isnan(standing.standard_error)
