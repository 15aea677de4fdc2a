"""Figures of a run: its ranks, gates, losses and comparison, as functions of the data they show."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, Protocol

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import BoundaryNorm, ListedColormap
from matplotlib.figure import Figure

from autolora_meta.errors import InputError
from autolora_meta.ranks.pattern import RankPattern
from autolora_meta.reporting.grid import LayerGrid, layer_grid
from autolora_meta.reporting.style import BLOCKS, BRIGHT, DARK, GREY, axes, panels, styled
from autolora_meta.statistics import MIN_REPLICATES, PairedDifference


class HasRanks(Protocol):
    """A result that holds a rank pattern."""

    @property
    def ranks(self) -> RankPattern: ...


@styled
def rank_heatmap(result: RankPattern | HasRanks, ax: Axes | None = None) -> Figure:
    """The rank of every layer, blocks downwards and kinds of module across.

    A place where the model has no layer is hatched; rank 0 is white.

    Args:
        result: a rank pattern, or anything whose `ranks` is one.
        ax: where to draw; None makes a new figure.

    Raises:
        InputError: the pattern has no layers.

    Example:
        >>> pattern = RankPattern(("layer.0.q", "layer.0.v"), (2, 0), (64, 64), k=4, scale=2.0)
        >>> figure = rank_heatmap(pattern)
        >>> figure.savefig("ranks.png")  # doctest: +SKIP
    """
    pattern = result if isinstance(result, RankPattern) else result.ranks
    if not len(pattern):
        raise InputError("the rank pattern has no layers, so there is nothing to draw")
    grid = layer_grid(pattern.names)
    height, width = len(grid.rows), len(grid.columns)
    values = np.full((height, width), np.nan)
    for (row, column), rank in zip(grid.cells, pattern.ranks, strict=True):
        values[row, column] = rank
    figure, ax = axes(ax, max(3.2, 1.6 + 0.5 * width), 1.2 + 0.26 * height)
    blues = colormaps["Blues"](np.linspace(0.15, 0.95, pattern.k))
    shades = ListedColormap(["white", *blues])
    norm = BoundaryNorm(np.arange(-0.5, pattern.k + 1), shades.N)
    ax.set_facecolor("white")
    ax.patch.set(hatch="////", edgecolor="#cccccc")
    image = ax.imshow(values, cmap=shades, norm=norm, aspect="auto")
    for (row, column), rank in zip(grid.cells, pattern.ranks, strict=True):
        dark = rank > 0.55 * pattern.k
        ax.text(
            column, row, str(rank), ha="center", va="center", color="white" if dark else "black"
        )
    ax.set_xticks(range(width), grid.columns, rotation=40, ha="right", rotation_mode="anchor")
    ax.set_yticks(range(height), grid.rows)
    ax.set_xticks(np.arange(width + 1) - 0.5, minor=True)
    ax.set_yticks(np.arange(height + 1) - 0.5, minor=True)
    ax.grid(which="minor", color="white", linewidth=1)
    ax.tick_params(which="both", length=0)
    ax.spines[:].set_visible(False)
    ax.set_ylabel("block")
    ax.set_title(f"total rank {pattern.total_rank}, {pattern.parameters:,} parameters", loc="left")
    bar = figure.colorbar(
        image, ax=ax, label="rank", ticks=range(0, pattern.k + 1, 1 + pattern.k // 9)
    )
    bar.ax.tick_params(which="both", length=0)
    return figure


@styled
def gates_over_time(
    steps: Sequence[int], gates: Any, names: Sequence[str], ax: Axes | None = None
) -> Figure:
    """How gates part during a search: a panel for each kind of module, a line for each component.

    Lines are coloured by block; the dashed line is the gates' mean at the first step shown.

    Args:
        steps: step of each record. (T,)
        gates: gates at those steps, an array or CPU tensor. (T, L, k)
        names: full names of the layers. (L,)
        ax: where to draw; None makes a new figure.

    Raises:
        InputError: there is no record, or shapes do not agree.
    """
    history = np.asarray(gates, dtype=float)
    if history.size == 0 or history.shape[:-1] != (len(steps), len(names)):
        raise InputError(
            f"gates over time need shape (steps, layers, k) with at least one of each; given "
            f"{history.shape} for {len(steps)} steps and {len(names)} layers"
        )
    grid = layer_grid(names)
    across = min(4, len(grid.columns))
    down = -(-len(grid.columns) // across)
    figure, ax = axes(ax, 0.9 + 1.6 * across, 0.6 + 1.35 * down)
    numbers = sorted({b for b in grid.blocks if b is not None})
    shades = colormaps[BLOCKS](np.linspace(0, 0.88, max(len(numbers), 1)))  # the palest drop out
    parts = panels(ax, down, across, sharex=True)
    width = 0.8 if len(grid.rows) * history.shape[2] <= 60 else 0.4
    for column, (part, title) in enumerate(zip(parts, _panel_titles(grid), strict=False)):
        part.axhline(history[0].mean(), color="black", linestyle="--", linewidth=0.7)
        for layer, block in enumerate(grid.blocks):
            if grid.cells[layer][1] == column:
                colour = GREY if block is None else shades[numbers.index(block)]
                part.plot(steps, history[:, layer], color=colour, linewidth=width, alpha=0.8)
        part.set_title(title, loc="left", fontsize=7)
    for unused in parts[len(grid.columns) :]:
        unused.remove()
    parts = parts[: len(grid.columns)]
    _outer_labels(parts, across, "step", "gate")
    if numbers:
        norm = BoundaryNorm(np.arange(len(numbers) + 1) - 0.5, len(numbers))
        key = ScalarMappable(norm, ListedColormap(shades))
        shown = range(0, len(numbers), 1 + len(numbers) // 9)
        bar = figure.colorbar(key, ax=parts, label="block", ticks=shown, pad=0.02, aspect=30)
        bar.set_ticklabels([str(numbers[i]) for i in shown])
        bar.ax.tick_params(which="both", length=0)
    return figure


def _panel_titles(grid: LayerGrid) -> list[str]:
    """Labels of the columns; a lone layer outside the blocks has its row's label before it."""
    titles = []
    for column, label in enumerate(grid.columns):
        rows = [cell[0] for cell in grid.cells if cell[1] == column]
        alone = len(rows) == 1 and grid.blocks[grid.cells.index((rows[0], column))] is None
        row = grid.rows[rows[0]]
        titles.append(f"{row}.{label}" if alone and row != label else label)
    return titles


def _outer_labels(parts: list[Axes], across: int, x: str, y: str) -> None:
    """Label the panels that have nothing to their left, or nothing below."""
    for i, part in enumerate(parts):
        if i % across == 0:
            part.set_ylabel(y)
        if i + across >= len(parts):
            part.set_xlabel(x)
            part.tick_params(labelbottom=True)


@styled
def losses(rows: Sequence[Mapping[str, Any]], ax: Axes | None = None) -> Figure:
    """Inner and outer loss against step: each value faint, their running mean in full colour.

    Args:
        rows: records of one search with "step" and any of "inner_loss" and "outer_loss".
        ax: where to draw; None makes a new figure.

    Raises:
        InputError: no record holds a loss.
    """
    _, ax = figure_axes = axes(ax, 4.2, 2.6)
    drawn = False
    kinds = (
        ("inner_loss", "inner (training rows)", DARK, "-"),
        ("outer_loss", "outer (validation rows)", BRIGHT, "--"),
    )
    for key, label, colour, dash in kinds:
        points = [(r["step"], r[key]) for r in rows if r.get(key) is not None]
        if points:
            x, y = np.asarray(points, dtype=float).T
            ax.plot(x, y, color=colour, linewidth=0.6, alpha=0.3)
            ax.plot(x, _running_mean(y), color=colour, linestyle=dash, linewidth=1.5, label=label)
            drawn = True
    if not drawn:
        raise InputError(
            f"none of the {len(rows)} records holds an inner_loss or an outer_loss to draw"
        )
    ax.set_xlabel("step")
    ax.set_ylabel("loss")
    ax.legend(frameon=False)
    return figure_axes[0]


def _running_mean(values: np.ndarray) -> np.ndarray:
    """Mean over a centred window of a fifteenth of the record, cut at both ends."""
    reach = len(values) // 30
    total = np.concatenate([[0.0], np.cumsum(values)])
    first = np.maximum(np.arange(len(values)) - reach, 0)
    last = np.minimum(np.arange(len(values)) + reach + 1, len(values))
    return (total[last] - total[first]) / (last - first)


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
