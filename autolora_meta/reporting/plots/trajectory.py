"""The allocation during a search: which layers gain and lose ranks, and when it comes to rest."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import BoundaryNorm, ListedColormap
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from autolora_meta.errors import InputError
from autolora_meta.reporting.grid import layer_grid
from autolora_meta.reporting.style import DARK, axes, colour_bar, panels, styled


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
    order = sorted(range(len(names)), key=lambda layer: grid.cells[layer][::-1])
    kinds = [grid.cells[layer][1] for layer in order]
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
    most = max(1, int(history.max()))
    blues = colormaps["Blues"](np.linspace(0.15, 0.95, most))
    shades = ListedColormap(["white", *blues])
    norm = BoundaryNorm(np.arange(-0.5, most + 1), shades.N)
    edges = _edges(np.asarray(steps, dtype=float))
    across = np.arange(len(names) + 1) - 0.5
    image = table.pcolormesh(
        edges, across, history[:, order].T, cmap=shades, norm=norm, rasterized=True
    )
    table.set_ylim(len(names) - 0.5, -0.5)
    firsts = [i for i in range(1, len(kinds)) if kinds[i] != kinds[i - 1]]
    for first in firsts:
        table.axhline(first - 0.5, color="black", linewidth=0.6)
    bounds = [0, *firsts, len(kinds)]
    middles = [(a + b - 1) / 2 for a, b in pairwise(bounds)]
    table.set_yticks(middles, [grid.columns[kinds[a]] for a in bounds[:-1]])
    table.tick_params(axis="y", length=0)
    table.set_xlabel("step")
    table.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    table.set_xlim(edges[0], edges[-1])
    ticks = range(0, most + 1, 1 + most // 9)
    colour_bar(figure, image, table, label="rank", ticks=ticks)
    return figure


def _edges(steps: np.ndarray) -> np.ndarray:
    """Where the column of each step begins, and the last one ends: half-way between steps."""
    middles = (steps[1:] + steps[:-1]) / 2
    ends = [steps[0] - 0.5, steps[-1] + 0.5]
    return np.concatenate([ends[:1], middles, ends[1:]])
