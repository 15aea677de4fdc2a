"""The arms of a comparison, their replicates, and how they differ from the baseline."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from autolora_meta.errors import InputError
from autolora_meta.reporting.plots.forest import (
    Better,
    Row,
    draw_differences,
    draw_replicates,
    label_rows,
)
from autolora_meta.reporting.style import axes, panels, styled
from autolora_meta.statistics.paired import PairedDifference


@styled
def comparison(
    rows: Sequence[Mapping[str, Any]],
    differences: Mapping[str, PairedDifference],
    metric: str,
    ax: Axes | None = None,
    *,
    baseline: str = "uniform",
    better: Better = None,
    label: str | None = None,
    holding: Collection[str] | None = None,
) -> Figure:
    """Arms of a comparison: their replicates, and how each differs from the baseline.

    Left, each replicate is a dot, joined over the arms by a faint line, and a bar is the mean.
    Right, the mean paired difference with its interval, and below it those of the replicates. The
    marker is filled where the difference holds; below 3 replicates no interval is drawn.

    Args:
        rows: records with "arm", "seed", "metric" and "value"; others are passed over.
        differences: for each arm but the baseline, arm minus baseline.
        metric: which metric to draw.
        ax: where to draw; None makes a new figure.
        baseline: the arm that the differences are taken against.
        better: which way is better, said on the axis; None says nothing.
        label: the metric's name on the axes; None takes `metric`.
        holding: the arms whose difference holds (`Comparison.holding`); None: those whose interval
            leaves out 0.

    Raises:
        InputError: no record holds the metric.
    """
    values: dict[str, dict[int, float]] = {}
    for row in rows:
        if row["metric"] == metric:
            values.setdefault(row["arm"], {})[row["seed"]] = float(row["value"])
    if not values:
        found = sorted({str(row["metric"]) for row in rows})
        raise InputError(
            f"no record holds the metric '{metric}'; metrics found: {', '.join(found) or 'none'}"
        )
    base = values.get(baseline, {})
    conclusive = {arm for arm, difference in differences.items() if difference.conclusive}
    shown = [
        Row(
            arm,
            each,
            difference=None if arm == baseline else differences.get(arm),
            baseline=arm == baseline,
            apart=tuple(v - base[seed] for seed, v in each.items() if seed in base),
            claim=arm in (conclusive if holding is None else holding),
        )
        for arm, each in values.items()
    ]
    figure, ax = axes(ax, 6.3, 0.9 + 0.34 * len(shown))
    left, right = panels(ax, 1, 2)
    label = label or metric
    draw_replicates(left, shown, label)
    draw_differences(right, shown, f"{label}, difference from {baseline}", better)
    label_rows(left, shown)
    right.tick_params(axis="y", length=0)
    right.spines["left"].set_visible(False)
    return figure
