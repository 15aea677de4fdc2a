"""How far several searches agree: mean and spread of each layer's rank."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from autolora_meta.errors import InputError
from autolora_meta.ranks.pattern import RankPattern
from autolora_meta.reporting.aligned import aligned
from autolora_meta.reporting.layer_grid import LayerGrid, layer_grid
from autolora_meta.reporting.plots.heatmap import cells_height, cells_width, draw_cells
from autolora_meta.reporting.style import axes, colour_bar, panels, styled
from autolora_meta.statistics.stability import MIN_SEARCHES, agreement, layer_groups


@styled
def rank_stability(patterns: Sequence[RankPattern], ax: Axes | None = None) -> Figure:
    """Mean and standard deviation of each layer's rank over searches, and Kendall's W.

    From 3 searches on, W stands above each kind of module: 1 where all searches order its layers
    alike, 0 where they do not agree at all. p is the share of orders drawn by chance, within each
    kind, that agree as well.

    Args:
        patterns: ranks of one model, one of each search.
        ax: where to draw; None makes a new figure.

    Raises:
        InputError: fewer than two patterns, or of different models.

    Source: Kendall's W and its permutation test, `statistics.stability`.

    Example:
        >>> rank_stability([result.ranks for result in results])   # doctest: +SKIP
    """
    if len(patterns) < 2 or not all(map(len, patterns)):
        raise InputError(
            f"stability is drawn over at least two searches, each with layers; given "
            f"{len(patterns)}. Give more runs, or a run with more replicates or search.seeds"
        )
    shown = aligned(patterns)
    names, costs = shown[0].names, shown[0].costs
    grid = layer_grid(names)
    ranks = np.array([pattern.ranks for pattern in shown])  # (S, L)
    figure, ax = axes(ax, 1.8 + 2 * max(1.7, cells_width(grid)), 0.4 + cells_height(grid))
    left, right = panels(ax, 1, 2)
    for part, values, label, shades in (
        (left, ranks.mean(axis=0), "mean rank", "Blues"),
        (right, ranks.std(axis=0, ddof=1), "standard deviation", "Oranges"),
    ):
        texts = [f"{value:.1f}" for value in values]
        top = max(float(values.max()), 1.0)
        image = draw_cells(part, grid, values.tolist(), texts, shades, Normalize(0, top))
        colour_bar(figure, image, part, pad=0.03)
        part.set_title(f"{label}, {len(shown)} rank patterns", loc="left", pad=18)
    left.set_ylabel("block")
    if len(shown) >= MIN_SEARCHES:
        groups = layer_groups(names, costs)
        found = agreement(ranks, groups)
        _write_w(right, grid, groups, found.types)
        if found.w is not None:
            over = f"Kendall's W {found.w:.2f}, p {found.p:.2g}"
            right.set_title(f"{right.get_title(loc='left')}\n{over}", loc="left", pad=18)
    return figure


def _write_w(
    ax: Axes, grid: LayerGrid, groups: dict[str, list[int]], types: dict[str, float | None]
) -> None:
    """W above the columns of the kinds that it is known of."""
    for name, layers in groups.items():
        columns = {grid.cells[layer][1] for layer in layers}
        w = types[name]
        if len(columns) == 1:
            text = "W -" if w is None else f"W {w:.2f}"
            ax.text(columns.pop(), -0.65, text, ha="center", va="bottom", fontsize=6)
