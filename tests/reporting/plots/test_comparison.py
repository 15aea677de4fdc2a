"""Figures of arms and settings: replicates, differences, and what they cost."""

from itertools import pairwise
from typing import Literal

import numpy as np
import pytest

from autolora_meta.reporting import plots
from autolora_meta.reporting.measured import measured
from tests.reporting.pages import study_table
from tests.reporting.plots.drawn import POINTS


@pytest.mark.parametrize(
    ("better", "same", "front"),
    [("higher", 0.0, [1, 0, 3]), ("lower", 0.0, [1]), (None, 0.0, []), ("higher", 0.02, [1, 3])],
)
def test_the_pareto_front_is_what_nothing_beats(
    better: Literal["higher", "lower"] | None, same: float, front: list[int]
) -> None:
    xs, ys = [100, 50, 300, 101], [0.6, 0.5, 0.7, 0.8]
    assert plots.pareto_front(xs, ys, better, same) == front


def test_points_of_a_trade_off_are_means_with_the_front_ringed() -> None:
    figure = plots.metric_against_cost(POINTS, label="accuracy")
    (ax,) = figure.axes
    lines = {str(line.get_label()): line for line in ax.lines}
    assert np.allclose(lines["learned"].get_ydata(), [0.7, 0.8])  # type: ignore[arg-type]
    assert np.allclose(lines["Pareto front"].get_ydata(), [0.6, 0.8])  # type: ignore[arg-type]
    assert [str(lines[p.series].get_marker()) for p in POINTS[1:]] == ["o", "s", "^"]
    assert len(ax.collections) == 3  # no interval of two replicates
    figure.draw_without_rendering()
    box, window = ax.get_window_extent(), [c.get_window_extent() for c in ax.collections]
    assert all(box.y0 <= part.y0 and part.y1 <= box.y1 for part in window)


def test_series_at_one_place_stand_side_by_side() -> None:
    (ax,) = plots.metric_against_parameters(POINTS[::2]).axes
    first, second = (np.asarray(line.get_xdata())[0] for line in ax.lines[:2])
    assert first < second and second - first < 0.1 * 1000


def test_a_series_that_stands_alone_stays_where_it_is() -> None:
    costs = {"darts": 320, "first_order": 280, "one_step": 400, "unrolled": 402, "cg": 900}
    given = [plots.Measured(name, cost, 1000, (0.5, 0.6, 0.7)) for name, cost in costs.items()]
    (ax,) = plots.metric_against_cost(given).axes
    shown = {str(line.get_label()): np.asarray(line.get_xdata())[0] for line in ax.lines}
    assert [shown[name] for name in ("darts", "first_order", "cg")] == [320, 280, 900]
    assert shown["one_step"] < 400 < 402 < shown["unrolled"] < 420


@pytest.mark.parametrize("most", [800, 90_000, 9_000_000])
def test_numbers_on_the_axis_of_costs_do_not_touch(most: int) -> None:
    given = [plots.Measured(str(cost), cost, 1000, (0.5,)) for cost in (20, 70, most)]
    figure = plots.metric_against_cost(given)
    figure.draw_without_rendering()
    low, high = figure.axes[0].get_xlim()
    ticks = [t for t in figure.axes[0].xaxis.get_major_ticks() if low <= t.get_loc() <= high]
    boxes = [tick.label1.get_window_extent() for tick in ticks]
    assert len(boxes) >= 3 and all(a.x1 < b.x0 for a, b in pairwise(boxes))


def test_points_of_a_study_join_its_budgets() -> None:
    points = measured(study_table())
    assert len(points) == 8 and len({point.series for point in points}) == 4
    assert points[0].series == "cola, learned" and points[0].parameters == 1000
    assert points[0].cost == 221.5 and len(points[-1].values) == 3  # one seed has failed


def test_a_study_puts_the_baseline_first_and_marks_what_holds() -> None:
    left, right = plots.study(study_table(), "arm", "uniform").axes
    labels = [label.get_text().replace("\n", " ") for label in left.get_yticklabels()]
    assert labels[:2] == ["cola, uniform:1, uniform", "cola, uniform:1, learned"]
    assert [t.get_text() for t in right.texts] == [" baseline"] * 4
    means = [line for line in right.lines if line.get_marker() == "o"]
    assert len(means) == 4 and all(m.get_markerfacecolor() != "white" for m in means)
    few = plots.study(study_table(seeds=2)).axes[1]
    assert all(m.get_markerfacecolor() == "white" for m in few.lines if m.get_marker() == "o")


def test_contrasts_are_labelled_by_what_tells_them_apart() -> None:
    found = study_table().compare("arm", baseline="uniform", over=["data.source"])
    (ax,) = plots.paired_differences(found).axes
    assert [t.get_text() for t in ax.get_yticklabels()] == [
        "uniform:1, learned",
        "uniform:2, learned",
    ]
