"""The ranks of each layer over several searches."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from autolora_meta.errors import InputError
from autolora_meta.ranks.pattern import RankPattern
from autolora_meta.reporting.aligned import aligned
from autolora_meta.reporting.layer_grid import LayerGrid, layer_grid
from autolora_meta.reporting.plots.heatmap import shown_rows
from autolora_meta.reporting.plots.kinds import panel_for_each_kind
from autolora_meta.reporting.style import BRIGHT, DARK, styled

BAR = 0.35  # half of the width of a mean's bar, in blocks


@styled
def rank_spread(patterns: Sequence[RankPattern], ax: Axes | None = None) -> Figure:
    """The distribution of each layer's rank over searches: a panel for each kind of module.

    A dot is a rank that a pattern has, the larger the more of them have it; a bar is the mean. The
    dashed line is the rank that every layer would have if the same parameters were spread evenly.
    A figure of its own says so above the panels.

    Args:
        patterns: ranks of one model, one of each search.
        ax: where to draw; None makes a new figure.

    Raises:
        InputError: there is no layer, or the patterns are of different models.

    Example:
        >>> patterns = [result.ranks for result in results]        # doctest: +SKIP
        >>> rank_spread(patterns).savefig("spread.pdf")            # doctest: +SKIP
    """
    if not patterns or not all(map(len, patterns)):
        raise InputError("there are no layers whose ranks could be drawn")
    shown = aligned(patterns)
    grid = layer_grid(shown[0].names)
    rows = len(grid.rows)
    width = min(max(1.6, 0.075 * rows), 6.0)
    pitch = (width - 0.3) / rows  # inches
    labelled = _labelled(grid, pitch)
    longest = max(len(grid.rows[row]) for row in labelled)
    long = longest > 3
    figure, parts = panel_for_each_kind(
        grid, ax, "block", "rank",
        across=max(1, min(4, int(6.6 / width))), width=width, below=0.06 * longest * long,
    )  # fmt: skip
    ranks = np.array([pattern.ranks for pattern in shown])  # (S, L)
    costs = np.array(shown[0].costs)
    uniform = float((ranks @ costs).mean() / costs.sum())
    for column, part in enumerate(parts):
        layers = [layer for layer, cell in enumerate(grid.cells) if cell[1] == column]
        places = [grid.cells[layer][0] for layer in layers]
        _draw_kind(part, places, ranks[:, layers], pitch)
        part.axhline(uniform, color=BRIGHT, linestyle="--", linewidth=1, zorder=1)
        part.set_xlim(-0.8, rows - 0.2)
        part.set_ylim(-0.5, max(ranks.max(), uniform) + 0.5)
        part.yaxis.set_major_locator(MaxNLocator(5, integer=True, min_n_ticks=2))
        part.set_xticks(labelled, [grid.rows[row] for row in labelled], rotation=90 * long)
    if ax is None:
        figure.suptitle(
            f"{len(shown)} rank patterns. Dots: ranks, larger where more have them. Bars: their "
            f"mean.\nDashed: equal ranks at the same parameters, {uniform:.3g}.",
            x=0.01,
            ha="left",
            fontsize=7,
        )
    return figure


def _labelled(grid: LayerGrid, pitch: float) -> list[int]:
    """Rows with a label; the title of its panel names a layer outside the blocks, if there are."""
    cells = zip(grid.cells, grid.blocks, strict=True)
    within = {row for (row, _), block in cells if block is not None}
    return [row for row in shown_rows(grid, pitch) if row in within or not within]


def _draw_kind(ax: Axes, places: Sequence[int], ranks: np.ndarray, pitch: float) -> None:
    """The ranks of the layers of one kind, `pitch` inches apart, and their means; (S, L) ranks."""
    largest = min(42.0, (72 * pitch) ** 2)  # points squared: dots side by side
    pairs = np.stack(np.broadcast_arrays(places, ranks), axis=-1).reshape(-1, 2)  # (S * L, 2)
    dots, counts = np.unique(pairs, axis=0, return_counts=True)
    sizes = largest * counts / len(ranks)
    ax.scatter(*dots.T, s=sizes, color=DARK, alpha=0.55, linewidths=0, zorder=2)
    low, high = np.array(places) - BAR, np.array(places) + BAR
    ax.hlines(ranks.mean(axis=0), low, high, color="black", linewidth=1.2, zorder=3)
