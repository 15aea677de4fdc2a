"""The arms of a comparison, their replicates, and how they differ from the baseline."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from autolora_meta.errors import InputError
from autolora_meta.reporting.style import DARK, GREY, axes, panels, styled
from autolora_meta.statistics import MIN_REPLICATES, PairedDifference


@styled
def comparison(
    rows: Sequence[Mapping[str, Any]],
    differences: Mapping[str, PairedDifference],
    metric: str,
    ax: Axes | None = None,
    *,
    baseline: str = "uniform",
    better: Literal["higher", "lower"] | None = None,
    label: str | None = None,
) -> Figure:
    """Arms of a comparison: their replicates, and how each differs from the baseline.

    Left, each replicate is a dot, joined over the arms by a faint line, and a bar is the mean.
    Right, the mean paired difference with its interval, and below it those of the replicates. The
    marker is filled where a claim can be made; below 3 replicates no interval is drawn.

    Args:
        rows: records with "arm", "seed", "metric" and "value"; others are passed over.
        differences: for each arm but the baseline, arm minus baseline.
        metric: which metric to draw.
        ax: where to draw; None makes a new figure.
        baseline: the arm that the differences are taken against.
        better: which way is better, said on the axis; None says nothing.
        label: the metric's name on the axes; None takes `metric`.

    Raises:
        InputError: no record holds the metric.
    """
    values: dict[str, dict[Any, float]] = {}
    for row in rows:
        if row["metric"] == metric:
            values.setdefault(row["arm"], {})[row["seed"]] = float(row["value"])
    if not values:
        found = sorted({str(row["metric"]) for row in rows})
        raise InputError(
            f"no record holds the metric '{metric}'; metrics found: {', '.join(found) or 'none'}"
        )
    arms = list(values)
    figure, ax = axes(ax, 6.3, 0.9 + 0.34 * len(arms))
    left, right = panels(ax, 1, 2)
    _replicates(left, arms, values)
    label = label or metric
    left.set_xlabel(label)
    left.set_title("replicates and their mean", loc="left")
    left.set_yticks(range(len(arms)), arms)
    left.set_ylim(len(arms) - 0.5, -0.5)
    right.axvline(0, color="black", linewidth=0.8)
    for place, arm in enumerate(arms):
        if arm == baseline:
            right.text(0, place, " baseline", va="center", color="#555555")
        elif arm in differences:
            base = values.get(baseline, {})
            dots = [v - base[seed] for seed, v in values[arm].items() if seed in base]
            _interval(right, place, differences[arm], dots)
    levels = sorted({f"{d.level * 100:g}%" for d in differences.values()})
    right.set_title(f"paired difference, {' and '.join(levels)} interval".lstrip(), loc="left")
    right.set_xlabel(f"{label}, difference from {baseline}" + _direction(better))
    right.tick_params(axis="y", length=0)
    right.spines["left"].set_visible(False)
    return figure


def _replicates(ax: Axes, arms: list[str], values: dict[str, dict[Any, float]]) -> None:
    for seed in dict.fromkeys(s for arm in arms for s in values[arm]):
        path = [(values[arm][seed], i) for i, arm in enumerate(arms) if seed in values[arm]]
        ax.plot(*zip(*path, strict=True), color="#cccccc", linewidth=0.7, zorder=1)
    for place, arm in enumerate(arms):
        dots = list(values[arm].values())
        ax.scatter(dots, [place] * len(dots), s=12, color=DARK, alpha=0.8, linewidths=0, zorder=2)
        ax.vlines(np.mean(dots), place - 0.27, place + 0.27, color="black", linewidth=1.8, zorder=3)


def _interval(ax: Axes, place: int, d: PairedDifference, dots: list[float]) -> None:
    ax.scatter(dots, [place + 0.22] * len(dots), s=8, color=GREY, alpha=0.7, linewidths=0, zorder=1)
    if d.n >= MIN_REPLICATES:
        ax.hlines(place, d.low, d.high, color=DARK, linewidth=1.6, zorder=2)
    face = DARK if d.conclusive else "white"
    ax.plot(d.mean, place, "o", color=DARK, markerfacecolor=face, markersize=5, zorder=3)


def _direction(better: str | None) -> str:
    words = {"higher": "\n(right is better)", "lower": "\n(left is better)"}
    return words[better] if better else ""
