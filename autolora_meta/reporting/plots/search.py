"""The course of a search: its gates, its importance and its losses."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import BoundaryNorm, ListedColormap
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from autolora_meta.errors import InputError
from autolora_meta.reporting.layer_grid import layer_grid
from autolora_meta.reporting.plots.kinds import panel_for_each_kind
from autolora_meta.reporting.style import BLOCKS, BRIGHT, DARK, GREY, axes, colour_bar, styled


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
    figure, parts = _courses(steps, history, names, ax, "gate")
    for part in parts:
        part.axhline(history[0].mean(), color="black", linestyle="--", linewidth=0.7)
    return figure


@styled
def importance_over_time(
    steps: Sequence[int], importance: Any, names: Sequence[str], ax: Axes | None = None
) -> Figure:
    """Which layers gain importance: a panel for each kind of module, a line for each layer.

    Lines are coloured by block. Each is the layer's share of the importance of all layers at that
    step; the dashed line is an equal share.

    Args:
        steps: step of each record. (T,)
        importance: of each layer at those steps, 0 or more; an array or CPU tensor. (T, L)
        names: full names of the layers. (L,)
        ax: where to draw; None makes a new figure.

    Raises:
        InputError: there is no record, or shapes do not agree.
    """
    history = np.asarray(importance, dtype=float)
    if history.size == 0 or history.shape != (len(steps), len(names)):
        raise InputError(
            f"importance over time needs shape (steps, layers) with at least one of each; given "
            f"{history.shape} for {len(steps)} steps and {len(names)} layers"
        )
    total = history.sum(axis=1, keepdims=True)
    # s_l / sum_l s_l; before B has left zero there is nothing to share
    shares = np.divide(history, total, out=np.full_like(history, np.nan), where=total > 0)
    figure, parts = _courses(steps, shares[..., None], names, ax, "share of importance")
    for part in parts:
        part.axhline(1 / len(names), color="black", linestyle="--", linewidth=0.7)
    return figure


def _courses(
    steps: Sequence[int], history: np.ndarray, names: Sequence[str], ax: Axes | None, label: str
) -> tuple[Figure, list[Axes]]:
    """A panel for each kind of module, lines coloured by block; history is (T, L, k)."""
    grid = layer_grid(names)
    figure, parts = panel_for_each_kind(grid, ax, "step", label, across=4, extra=0.3)
    numbers = sorted({b for b in grid.blocks if b is not None})
    shades = colormaps[BLOCKS](np.linspace(0, 0.88, max(len(numbers), 1)))  # the palest drop out
    width = 0.8 if len(grid.rows) * history.shape[2] <= 60 else 0.4
    for column, part in enumerate(parts):
        part.xaxis.set_major_locator(MaxNLocator(4, integer=True))
        for layer, block in enumerate(grid.blocks):
            if grid.cells[layer][1] == column:
                colour = GREY if block is None else shades[numbers.index(block)]
                part.plot(steps, history[:, layer], color=colour, linewidth=width, alpha=0.8)
    if numbers:
        norm = BoundaryNorm(np.arange(len(numbers) + 1) - 0.5, len(numbers))
        key = ScalarMappable(norm, ListedColormap(shades))
        shown = range(0, len(numbers), 1 + len(numbers) // 9)
        bar = colour_bar(figure, key, parts, label="block", ticks=shown, pad=0.02)
        bar.set_ticklabels([str(numbers[i]) for i in shown])
    return figure, parts


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
    ax.xaxis.set_major_locator(MaxNLocator(7, integer=True))
    ax.set_xlabel("step")
    ax.set_ylabel("loss")
    ax.legend(frameon=False)
    return figure_axes[0]


def _running_mean(values: np.ndarray) -> np.ndarray:
    """Mean over a centred window of a fifteenth of the record, cut at both ends."""
    window = np.ones(1 + 2 * (len(values) // 30))
    return np.convolve(values, window, "same") / np.convolve(np.ones_like(values), window, "same")
