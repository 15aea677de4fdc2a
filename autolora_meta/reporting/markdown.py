"""Markdown tables that are aligned as plain text too."""

from collections.abc import Sequence

from autolora_meta.ranks.pattern import RankPattern
from autolora_meta.reporting.layer_grid import layer_grid
from autolora_meta.reporting.quoting import escaped


def table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Return a Markdown table that is also aligned as plain text."""
    cells = [[str(cell) for cell in row] for row in [header, *rows]]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = [
        "| " + " | ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)) + " |"
        for row in cells
    ]
    lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join(lines)


def ranks_table(pattern: RankPattern) -> str:
    """Return ranks with blocks downwards and kinds of module across, and what they cost."""
    grid = layer_grid(pattern.names)
    cells = [["" for _ in grid.columns] for _ in grid.rows]
    for (row, column), rank in zip(grid.cells, pattern.ranks, strict=True):
        cells[row][column] = str(rank)
    body = table(
        ["block", *map(escaped, grid.columns)],
        [[escaped(name), *row] for name, row in zip(grid.rows, cells, strict=True)],
    )
    return f"{body}\n\ntotal rank {pattern.total_rank}, {pattern.parameters:,} parameters"
