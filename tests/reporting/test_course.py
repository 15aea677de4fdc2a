"""How searches went, and how far an answer reaches."""

from dataclasses import replace

import numpy as np
import pytest

from autolora_meta.config.run import RunConfig
from autolora_meta.pipeline.result import SearchResult
from autolora_meta.reporting.course import Course, courses
from autolora_meta.reporting.summary import summary
from autolora_meta.statistics.stability import stability
from autolora_meta.studies.table import StudyTable
from tests.end_to_end import Tiny
from tests.studies.tiny_run import ARMS, METRICS, made, place


@pytest.fixture
def table(tiny: Tiny) -> StudyTable:
    return StudyTable.load(tiny.run)


def test_the_course_of_the_searches_is_the_median_of_their_outer_steps(
    tiny: Tiny, table: StudyTable
) -> None:
    searches = [SearchResult.load(place(tiny, "learned", seed)) for seed in (0, 1)]
    shares = [r["implicit_norm"] / r["direct_norm"] for s in searches for r in s.rows]
    (setting, course), *others = courses(table, tiny.run).items()
    assert setting == "" and not others
    assert (course.method, course.searches, course.balanced) == ("darts", 2, True)
    assert course.solved is None and course.settled is None
    assert course.implicit_share == pytest.approx(np.median(shares))
    assert course.stability == stability(
        [s.components for s in searches], searches[0].options, over="replicates"
    )
    assert course.blind is not None and course.blind.count == 2  # in three steps nothing is learned
    losses = [r["outer_loss"] for s in searches for r in s.rows[1:]]
    assert course.blind.loss == pytest.approx(np.mean(losses))
    assert "The validation loss at the end of 2 of 2 searches was" in course.warnings()[0]
    assert replace(course, blind=None).warnings() == []
    early = replace(course, settled=(40, 61)).sentences()
    assert "had settled in 2 of 2 searches, which ended at outer steps 40 to 61." in early[1]
    assert "Two replicates cannot show whether the learned ranks" in early[-1]


def test_the_course_of_a_method_that_iterates(tiny: Tiny) -> None:
    config = RunConfig.load(tiny.config, "cg")
    search = SearchResult.load(place(tiny, "learned", 0))
    stops = [("converged", 4), ("negative curvature", 2), ("converged", 6)]
    rows = [
        row | {"stopped": s, "iterations": n}
        for row, (s, n) in zip(search.rows, stops, strict=True)
    ]
    course = Course.of(config, [replace(search, rows=rows)])
    assert course.solved is not None
    assert (course.solved.iterations, course.solved.damping) == (4, 10)
    assert course.solved.stopped_early == pytest.approx(1 / 3)
    assert "in 33% of the outer steps" in course.sentences()[0]


def test_the_summary_says_which_arms_had_a_start_and_how_far_intervals_reach(
    table: StudyTable,
) -> None:
    assert "went on" not in summary(table)
    assert "Replicates are random splits of the data.\n" in summary(table)
    begun = {"learned": "search", "frozen": "search"}
    rows = tuple(row | {"start": begun.get(row["arm"], "scratch")} for row in table.rows)
    said = "learned, frozen went on from what the search trained, uniform, shuffled began from"
    assert said in summary(replace(table, rows=rows))
    rows = tuple(row | {"start": "search"} for row in table.rows)
    every = summary(replace(table, rows=rows))
    assert "Every arm went on from what its search trained." in every
    three = made({arm: {m: [0.1, i, 0.3] for m in METRICS} for i, arm in enumerate(ARMS)})
    told = "splits of the data, and 10 intervals are given, uncorrected for their number."
    assert told in summary(three)
