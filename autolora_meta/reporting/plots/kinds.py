"""Small multiples: a panel for each kind of module."""

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from autolora_meta.reporting.layer_grid import LayerGrid
from autolora_meta.reporting.style import axes, tiles


def panel_for_each_kind(
    grid: LayerGrid,
    ax: Axes | None,
    x: str,
    y: str,
    *,
    across: int,
    width: float = 1.6,
    extra: float = 0.0,
    below: float = 0.0,
) -> tuple[Figure, list[Axes]]:
    """Panels with common axes, in the order of the grid's columns, titled and labelled.

    Args:
        grid: the layers.
        ax: the place to cut up; None makes a new figure.
        x: label of the x axis, below the lowest panels.
        y: label of the y axis, left of the leftmost.
        across: panels side by side, at most.
        width: of a panel, in inches.
        extra: width beside the panels, in inches.
        below: height below the lowest panels for long labels, in inches.
    """
    count = len(grid.columns)
    across = min(across, count)
    down = -(-count // across)
    figure, ax = axes(ax, 0.6 + extra + width * across, 0.6 + below + 1.35 * down)
    parts = tiles(ax, count, across)
    for i, (part, title) in enumerate(zip(parts, _titles(grid), strict=True)):
        part.set_title(title, loc="left", fontsize=7)
        if i % across == 0:
            part.set_ylabel(y)
        if i + across >= count:
            part.set_xlabel(x)
    return figure, parts


def _titles(grid: LayerGrid) -> list[str]:
    """Labels of the columns; a lone layer outside the blocks has its row's label before it."""
    titles = []
    for column, label in enumerate(grid.columns):
        rows = [cell[0] for cell in grid.cells if cell[1] == column]
        alone = len(rows) == 1 and grid.blocks[grid.cells.index((rows[0], column))] is None
        row = grid.rows[rows[0]]
        titles.append(f"{row}.{label}" if alone and row != label else label)
    return titles
