"""The allocation during a search: which layers gain and lose ranks, and when it comes to rest."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from autolora_meta.errors import InputError
from autolora_meta.reporting.layer_grid import LayerGrid, layer_grid
from autolora_meta.reporting.style import DARK, axes, panels, rank_bar, rank_colours, styled


@styled
def ranks_over_time(
    steps: Sequence[int],
    ranks: Any,
    names: Sequence[str],
    moved: Sequence[float] | None = None,
    ax: Axes | None = None,
) -> Figure:
    """The rank of every layer after each outer step, sorted by kind of module, then by block.

    Args:
        steps: step of each record. (T,)
        ranks: ranks at those steps, an array or CPU tensor. (T, L)
        names: full names of the layers. (L,)
        moved: ranks that moved in each record, drawn above. (T,)
        ax: where to draw; None makes a new figure.

    Raises:
        InputError: there is no record, or shapes do not agree.
    """
    history = np.asarray(ranks, dtype=int)
    if history.size == 0 or history.shape != (len(steps), len(names)):
        raise InputError(
            f"ranks over time need shape (steps, layers) with at least one of each; given "
            f"{history.shape} for {len(steps)} steps and {len(names)} layers"
        )
    if moved is not None and len(moved) != len(steps):
        raise InputError(f"{len(moved)} records of moved ranks are given for {len(steps)} steps")
    grid = layer_grid(names)
    tall = min(max(1.6, 0.055 * len(names), 0.16 * len(grid.columns)), 8.0)
    figure, ax = axes(ax, 5.2, tall + (1.3 if moved is not None else 0.6))
    if moved is None:
        table = ax
    else:
        above, table = panels(ax, 2, 1, sharex=True, sharey=False, heights=(0.7, tall))
        above.plot(steps, moved, color=DARK, linewidth=1, drawstyle="steps-mid")
        above.set_ylim(bottom=0)
        above.set_ylabel("ranks moved")
        above.yaxis.set_major_locator(MaxNLocator(3, integer=True, min_n_ticks=2))
        above.tick_params(labelbottom=False)
    _draw_history(table, np.asarray(steps, dtype=float), history, grid)
    rank_bar(figure, table.collections[0], table)
    return figure


def _draw_history(ax: Axes, steps: np.ndarray, history: np.ndarray, grid: LayerGrid) -> None:
    """A row for each layer, sorted by kind of module, and a line between kinds."""
    order = sorted(range(len(grid.cells)), key=lambda layer: grid.cells[layer][::-1])
    shades, norm = rank_colours(max(1, int(history.max())))
    edges = _edges(steps)
    across = np.arange(len(order) + 1) - 0.5
    ax.pcolormesh(edges, across, history[:, order].T, cmap=shades, norm=norm, rasterized=True)
    ax.set_xlim(edges[0], edges[-1])
    ax.set_xlabel("step")
    ax.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    kinds = [grid.cells[layer][1] for layer in order]
    bounds = np.flatnonzero(np.diff(kinds, prepend=-1, append=-1)) - 0.5
    for bound in bounds[1:-1]:
        ax.axhline(bound, color="black", linewidth=0.6)
    ax.set_ylim(bounds[-1], bounds[0])
    ax.set_yticks((bounds[1:] + bounds[:-1]) / 2, [grid.columns[kind] for kind in sorted({*kinds})])
    ax.tick_params(axis="y", length=0)


def _edges(steps: np.ndarray) -> np.ndarray:
    """Where the column of each step begins, and the last one ends: half-way between steps."""
    middles = (steps[1:] + steps[:-1]) / 2
    ends = [steps[0] - 0.5, steps[-1] + 0.5]
    return np.concatenate([ends[:1], middles, ends[1:]])
