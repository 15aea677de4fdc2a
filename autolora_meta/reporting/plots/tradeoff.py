"""What a metric costs: plain steps, or adapter parameters, with the Pareto front."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter
from matplotlib.transforms import Transform

from autolora_meta.errors import InputError
from autolora_meta.reporting.plots.forest import Better
from autolora_meta.reporting.style import GREY, PALETTE, SHAPES, axes, styled
from autolora_meta.statistics.paired import (
    MIN_REPLICATES,
    PairedDifference,
    paired_difference,
)

_APART = 0.03  # share of the axis between series that stand at the same place, if they are few
_SAME = 0.02  # sizes that differ by less count as the same: arms at one budget


@dataclass(frozen=True)
class Measured:
    """A metric over replicates, and what it took.

    Args:
        series: what the point belongs to: an arm, a method. Points of one series are joined.
        cost: plain steps of search and retraining.
        parameters: of the adapter.
        values: the metric, one a replicate.
    """

    series: str
    cost: float
    parameters: float
    values: tuple[float, ...]


@styled
def metric_against_cost(
    points: Sequence[Measured],
    ax: Axes | None = None,
    *,
    label: str = "metric",
    better: Better = "higher",
) -> Figure:
    """A metric against what finding and retraining the ranks took, in plain steps.

    A marker is the mean, a bar its 95% interval over replicates (from 3 on). Ringed are the points
    of the Pareto front: nothing as cheap is better. Intervals of two arms that share their splits
    say little about the difference between them: see `study` and `paired_differences`.

    Args:
        points: what was measured.
        ax: where to draw; None makes a new figure.
        label: the metric's name.
        better: which way is better; None draws no front.

    Raises:
        InputError: there is no point.

    Example:
        >>> points = [Measured("learned", 220, 960, (0.62, 0.64, 0.60))]
        >>> figure = metric_against_cost(points, label="accuracy")
    """
    return _drawn(points, [p.cost for p in points], ax, "cost, plain steps", label, better)


@styled
def metric_against_parameters(
    points: Sequence[Measured],
    ax: Axes | None = None,
    *,
    label: str = "metric",
    better: Better = "higher",
) -> Figure:
    """A metric against the number of adapter parameters, with its interval and the Pareto front.

    See `metric_against_cost`; series at the same place stand side by side.
    """
    sizes = [p.parameters for p in points]
    return _drawn(points, sizes, ax, "adapter parameters", label, better)


def pareto_front(
    xs: Sequence[float], ys: Sequence[float], better: Better, same: float = 0.0
) -> list[int]:
    """Places of the points that no other beats: none has x as low and y as good, and one better.

    Args:
        xs: what it takes, above 0; less is better.
        ys: what it gives.
        better: which way of y is better; None: no front.
        same: an x that is larger by this share or less counts as the same.

    Returns:
        Places in the order of x.

    >>> pareto_front([1, 2, 3, 3], [0.5, 0.7, 0.6, 0.8], "higher")
    [0, 1, 3]
    """
    if better is None:
        return []
    gains = [y if better == "higher" else -y for y in ys]
    points = list(zip(xs, gains, strict=True))
    kept = [
        i
        for i, (x, y) in enumerate(points)
        if not any(
            (a <= x * (1 + same) and b > y) or (a * (1 + same) < x and b >= y) for a, b in points
        )
    ]
    return sorted(kept, key=lambda i: points[i])


def _drawn(
    points: Sequence[Measured],
    xs: Sequence[float],
    ax: Axes | None,
    x_label: str,
    label: str,
    better: Better,
) -> Figure:
    if not points or not all(point.values for point in points):
        raise InputError("there is nothing to draw; give points that hold at least one value each")
    series = list(dict.fromkeys(point.series for point in points))
    columns = 1 + (len(series) - 1) // 14
    figure, ax = axes(ax, 4.2 + 1.5 * columns, max(3.0, 0.6 + 0.16 * len(series) / columns))
    if min(xs) > 0 and max(xs) >= 4 * min(xs):
        ax.set_xscale("log")
        wide = max(xs) > 300 * min(xs)
        ax.xaxis.set_major_locator(LogLocator(subs=(1,) if wide else (1, 2, 5)))
        ax.xaxis.set_minor_formatter(NullFormatter())
    ax.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    shown = _side_by_side(points, xs, ax.xaxis.get_transform())
    summaries = [paired_difference(p.values, [0.0] * len(p.values)) for p in points]
    for number, name in enumerate(series):
        mine = sorted((i for i, p in enumerate(points) if p.series == name), key=lambda i: xs[i])
        _draw_series(ax, number, name, shown[mine], [summaries[i] for i in mine])
    front = pareto_front(xs, [d.mean for d in summaries], better, _SAME)
    _draw_front(ax, sorted((shown[i], summaries[i].mean) for i in front))
    ax.margins(x=0.08)
    ax.set_xlabel(x_label)
    ways = {"higher": " (up is better)", "lower": " (down is better)", None: ""}
    ax.set_ylabel(label + ways[better])
    ax.set_title(_title(points), loc="left")
    ax.legend(
        frameon=False, loc="center left", bbox_to_anchor=(1.01, 0.5), ncols=columns,
        handlelength=1.4,
    )  # fmt: skip
    return figure


def _draw_series(
    ax: Axes, number: int, name: str, xs: np.ndarray, summaries: Sequence[PairedDifference]
) -> None:
    """Means, joined by a line, and intervals where there are replicates enough."""
    colour, shape = PALETTE[number % len(PALETTE)], SHAPES[number % len(SHAPES)]
    for x, d in zip(xs, summaries, strict=True):
        if d.n >= MIN_REPLICATES:
            ax.vlines(x, d.low, d.high, color=colour, linewidth=1)
    ax.plot(
        xs,
        [d.mean for d in summaries],
        marker=shape,
        color=colour,
        markerfacecolor=colour if number < len(SHAPES) else "white",
        markersize=5,
        linewidth=0.7,
        alpha=0.9,
        label=name,
    )


def _draw_front(ax: Axes, front: Sequence[tuple[float, float]]) -> None:
    """A ring around each point of the front, and a line beyond which there is none."""
    if not front:
        return
    x, y = zip(*front, strict=True)
    ax.plot(x, y, color=GREY, linewidth=0.8, linestyle=":", drawstyle="steps-post", zorder=0)
    ax.plot(
        *(x, y, "o"),
        color="black",
        markersize=10,
        markerfacecolor="none",
        markeredgewidth=0.8,
        label="Pareto front",
    )


def _side_by_side(points: Sequence[Measured], xs: Sequence[float], scale: Transform) -> np.ndarray:
    """Where the points are drawn: series that stand at one place move apart, the others stay.

    Args:
        points: what is drawn. (N,)
        xs: where they stand. (N,)
        scale: from x to what is even on the axis, such as log10.
    """
    at = scale.transform(np.asarray(xs, dtype=float))  # (N,)
    span = np.ptp(at) or abs(at[0]) or 1.0
    series = list(dict.fromkeys(point.series for point in points))
    order = np.argsort(at, kind="stable")
    gaps = np.flatnonzero(np.diff(at[order]) > _SAME * span)
    moved = np.zeros_like(at)
    for place in np.split(order, gaps + 1):
        here = sorted({series.index(points[i].series) for i in place})
        middle, apart = (len(here) - 1) / 2, min(_APART, 0.16 / len(here)) * span
        for i in place:
            moved[i] = apart * (here.index(series.index(points[i].series)) - middle)
    return np.where(moved == 0, xs, scale.inverted().transform(at + moved))


def _title(points: Sequence[Measured]) -> str:
    counts = sorted({len(point.values) for point in points})
    many = f"{counts[0]} to {counts[-1]}" if len(counts) > 1 else f"{counts[0]}"
    replicates = f"{many} replicate{'s' * (counts[-1] > 1)}"
    interval = " and 95% interval" if counts[-1] >= MIN_REPLICATES else ""
    return f"mean{interval} over {replicates}"
