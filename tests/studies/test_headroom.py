"""Headroom in a run: which arms and questions it adds, and what is said of its table first."""

import json
from pathlib import Path

import numpy as np
import pytest

from autolora_meta.config.run import RunConfig
from autolora_meta.errors import InputError
from autolora_meta.foundation import manifest
from autolora_meta.ranks.pattern import RankPattern
from autolora_meta.reporting.cells import means
from autolora_meta.reporting.figures import draw_all
from autolora_meta.reporting.page import document
from autolora_meta.reporting.sentences import answer
from autolora_meta.reporting.summary import write_summary
from autolora_meta.studies.headroom import Measured, headroom_study, measured
from autolora_meta.studies.patterns import measured_together, patterns_of
from autolora_meta.studies.questions import Primary, Question
from autolora_meta.studies.schema import pattern_of
from autolora_meta.studies.study import Study
from autolora_meta.studies.table import StudyTable
from tests.studies.stub_work import BASE

SEEDS = range(6)


def run_of(place: Path, effects: dict[str, float], metric: str = "cross_entropy") -> StudyTable:
    """A finished run: arm -> its effect on the metric, and ranks of two layers for each arm."""
    draw = np.random.default_rng(0)
    between = 0.2 * draw.standard_normal(len(SEEDS))
    rows = []
    for number, (arm, effect) in enumerate(effects.items()):
        for seed in SEEDS:
            value = 1 + effect + between[seed] + 0.01 * draw.standard_normal()
            folder = place / "runs" / f"{number}-{seed}" / str(seed) / arm
            folder.mkdir(parents=True)
            ranks = RankPattern(("h.0.q", "h.0.v"), (number, 8 - number), (4, 4), 8, 1.0)
            manifest.write_sealed(folder, {"ranks.json": ranks.to_json()})
            rows.append(
                {"settings": {}, "arm": arm, "seed": seed, "id": f"{number}-{seed}"}
                | {"status": "finished", "metrics": {metric: value}, "compared": [metric]}
                | {"parameters": 8, "cost": 1.0, "pattern": pattern_of(dict(ranks))}
            )
    asked = (Question(baseline="uniform", values=("learned",)),) if "learned" in effects else ()
    return StudyTable("made", ("arm",), tuple(rows), asked, Primary())


def room_of(place: Path, effects: dict[str, float], metric: str = "cross_entropy") -> Measured:
    found = measured(run_of(place, effects, metric), place)
    assert found is not None
    return found


def patterns(*effects: float) -> dict[str, float]:
    return {f"pattern:{i}": effect for i, effect in enumerate(effects, start=1)}


def test_a_run_gets_uniform_and_patterns_and_compares_them_with_nothing() -> None:
    arms = ["learned", "frozen"]
    config = RunConfig.load(
        BASE, {"compare": {"arms": arms, "baseline": "frozen", "headroom": 4, "replicates": 2}}
    )
    study = Study.of(config)
    assert study.options.arms == (*arms, "uniform", *patterns_of(4)[1:])
    asked = [(one.baseline, one.values) for one in study.options.asked()]
    assert asked == [("frozen", ("learned",))]
    assert measured_together(study.table()) == patterns_of(4)[1:]
    without = Study.of(RunConfig.load(config.model_dump(), "compare.headroom=0"))
    assert without.options.arms == tuple(arms) and measured_together(without.table()) == []
    assert without.every.keys() < study.every.keys()  # the runs of its arms are the same


def test_the_command_needs_no_search_and_its_runs_are_those_of_a_run() -> None:
    config = RunConfig.load(BASE, "compare.replicates=3")
    study = headroom_study(config, 4)
    assert study.options.arms == tuple(patterns_of(4)) and not study.options.asked()
    assert study.options.seeds == (0, 1, 2) and study.folder == Path("runs/stub-headroom")
    assert not any(run.searches for run in study.planned)
    within = Study.of(RunConfig.load(config.model_dump(), "compare.headroom=4"))
    assert study.every.keys() < within.every.keys()


@pytest.mark.parametrize(
    ("overlay", "message"),
    [
        ("compare.headroom=3", "at least 4"),
        ("compare.headroom=-1", "compare.headroom"),
        ("ranks={rule: threshold, importance: alpha}", "give ranks.rule=budget"),
    ],
)
def test_what_cannot_be_measured_is_refused(overlay: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        RunConfig.load(BASE, "compare.headroom=4", overlay)


def test_patterns_are_measured_against_uniform_ranks_in_the_same_replicates(tmp_path: Path) -> None:
    room = room_of(tmp_path, {"uniform": 0.0} | patterns(-0.3, 0.1, 0.1, 0.2))
    assert room.seeds == tuple(SEEDS) and room.losses.shape == (4, 6)
    assert room.found.gain is not None and room.found.gain.mean == pytest.approx(0.3, abs=0.02)
    assert room.verdict.startswith("Ranks matter here: the best of 4 random patterns is 0.")
    room.save(tmp_path)
    held = json.loads((tmp_path / "headroom.json").read_text())
    assert held["verdict"] == room.verdict and held["patterns"]["pattern:1"] == list(room.losses[0])


def test_where_higher_is_better_the_higher_pattern_is_the_better_one(tmp_path: Path) -> None:
    room = room_of(tmp_path, {"uniform": 0.0} | patterns(-0.3, -0.1, 0.1, -0.2), "accuracy")
    assert room.found.gain is not None
    assert room.found.gain.mean == pytest.approx(10, abs=2)  # points
    assert "in points of test accuracy" in room.verdict and room.verdict.startswith(
        "Ranks matter here"
    )


def test_a_pattern_that_failed_is_left_out_and_named(tmp_path: Path) -> None:
    table = run_of(tmp_path, {"uniform": 0.0} | patterns(0.1, 0.0, -0.1, 0.2, 0.1))
    table.rows[-1]["status"] = "failed"
    room = measured(table, tmp_path)
    assert room is not None and room.found.patterns == 4 and room.left_out == ("pattern:5",)
    assert room.sentences[-1] == "Left out, failed or not finite: pattern:5"
    for row in table.rows[6:]:
        row["status"] = "failed"
    assert measured(table, tmp_path) is None


def told(place: Path, effects: dict[str, float]) -> tuple[str, str, str]:
    """First paragraph of the summary, the answer of the page, and its headroom section."""
    table = run_of(place, effects)
    table.save(place / "table.json")
    config = RunConfig.load(BASE, "compare.headroom=4")
    (place / "study.yaml").write_text(Study.of(config).options.to_yaml())
    draw_all(place)
    page = document(place)
    section = next(part for part in page.sections if part.heading.startswith("Headroom"))
    assert section.pictures and (place / "figures" / "headroom.png").is_file()
    return write_summary(place).split("\n\n")[1], page.answer, section.points[0]


def test_where_nothing_is_to_be_won_that_is_the_first_sentence(tmp_path: Path) -> None:
    effects = {"learned": 0.0, "uniform": 0.0}
    nil = "Ranks do not matter here: use uniform ranks and save the search"
    said = told(tmp_path / "nil", effects | patterns(0.0, 0.0, 0.0, 0.0))
    assert said[0].startswith(f"**{nil}") and said[1].startswith(nil) and said[2].startswith(nil)
    said = told(tmp_path / "much", effects | patterns(-0.3, 0.0, 0.0, 0.0))
    assert "Ranks" not in said[0] and said[1].startswith("No difference between learned")
    assert said[2].startswith("Ranks matter here")
    said = told(tmp_path / "alone", {"uniform": 0.0} | patterns(-0.3, 0.0, 0.0, 0.0))
    assert said[0].startswith("**Ranks matter here") and said[1].startswith("Ranks matter here")
    assert "nothing to compare" not in said[1]


def test_the_table_of_the_arms_leaves_the_patterns_to_the_section(tmp_path: Path) -> None:
    table = run_of(tmp_path, {"learned": 0.0, "uniform": 0.0} | patterns(0.0, 0.0, 0.0, 0.0))
    assert [cells[0] for cells in means(table)[1]] == ["learned", "uniform"]
    assert "pattern" not in answer(table)
