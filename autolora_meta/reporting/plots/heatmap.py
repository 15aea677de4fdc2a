"""Ranks as a heatmap: blocks downwards, kinds of module across."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap, Normalize
from matplotlib.figure import Figure
from matplotlib.image import AxesImage

from autolora_meta.errors import InputError
from autolora_meta.ranks.pattern import RankPattern
from autolora_meta.reporting.aligned import aligned
from autolora_meta.reporting.layer_grid import LayerGrid, layer_grid
from autolora_meta.reporting.style import axes, rank_bar, rank_colours, styled, tiles

_ROW, _LEAST_ROW, _PAGE = 0.26, 0.1, 8.0  # inches: of a row, at least, of all rows if they can
_LABEL = 0.13  # inches that a label of a row needs


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
    return _heatmaps({"": pattern}, ax)


@styled
def rank_heatmaps(patterns: Mapping[str, RankPattern], ax: Axes | None = None) -> Figure:
    """Several rank patterns of one model side by side, in one scale of colours.

    A layer that a pattern does not name has rank 0 there.

    Args:
        patterns: title -> rank pattern.
        ax: where to draw; None makes a new figure.

    Raises:
        InputError: a pattern has no layers, or they are of different models.
    """
    return _heatmaps(patterns, ax)


def _heatmaps(patterns: Mapping[str, RankPattern], ax: Axes | None) -> Figure:
    if not patterns or not all(map(len, patterns.values())):
        raise InputError("the rank pattern has no layers, so there is nothing to draw")
    shown = aligned(list(patterns.values()))
    shades, norm = rank_colours(max(1, *(pattern.k for pattern in shown)))
    cells = []
    for title, pattern in zip(patterns, shown, strict=True):
        size = f"total rank {pattern.total_rank}, {pattern.parameters:,} parameters"
        texts = [str(rank) for rank in pattern.ranks]
        cells.append(Cells(f"{title}\n{size}" if title else size, pattern.ranks, texts))
    grid = layer_grid(shown[0].names)
    figure, parts = draw_heatmaps(ax, grid, cells, shades, norm, across=len(cells))
    rank_bar(figure, parts[0].images[0], parts)
    return figure


@dataclass(frozen=True)
class Cells:
    """What a heatmap shows.

    Args:
        title: above it.
        values: what colours each layer. (L,)
        texts: what stands in the cell of each layer. (L,)
    """

    title: str
    values: Sequence[float]
    texts: Sequence[str]


def draw_heatmaps(
    ax: Axes | None,
    grid: LayerGrid,
    cells: Sequence[Cells],
    shades: ListedColormap,
    norm: Normalize,
    *,
    across: int,
) -> tuple[Figure, list[Axes]]:
    """Heatmaps of one grid in one scale of colours, `across` in a row at most."""
    across = min(across, len(cells))
    down = math.ceil(len(cells) / across)
    width = max(2.6, 0.3 + cells_width(grid))
    figure, ax = axes(ax, 1.0 + width * across, cells_height(grid) * down)
    parts = [ax] if len(cells) == 1 else tiles(ax, len(cells), across)
    for part, each in zip(parts, cells, strict=True):
        draw_cells(part, grid, each.values, each.texts, shades, norm)
        part.set_title(each.title, loc="left")
    for part in parts[::across]:
        part.set_ylabel("block")
    return figure, parts


def cells_width(grid: LayerGrid) -> float:
    """Inches across that the cells of a grid need."""
    return 0.42 * len(grid.columns)


def cells_height(grid: LayerGrid) -> float:
    """Inches that a figure of a grid is high: rows shrink to fit a page, down to a limit."""
    return 1.2 + _row(grid) * len(grid.rows)


def _row(grid: LayerGrid) -> float:
    return min(_ROW, max(_LEAST_ROW, _PAGE / len(grid.rows)))


def draw_cells(
    ax: Axes,
    grid: LayerGrid,
    values: Sequence[float],
    texts: Sequence[str],
    shades: ListedColormap | str,
    norm: Normalize,
) -> AxesImage:
    """Cells of a grid, each with its text; a place without a layer is hatched.

    Args:
        ax: where to draw.
        grid: the layers.
        values: what colours each layer. (L,)
        texts: what stands in each layer's cell. (L,)
        shades: colours.
        norm: values to colours.
    """
    height, width = len(grid.rows), len(grid.columns)
    row_height = _row(grid)
    table = np.full((height, width), np.nan)
    for cell, value in zip(grid.cells, values, strict=True):
        table[cell] = value
    ax.set_facecolor("white")
    ax.patch.set(hatch="////", edgecolor="#cccccc")
    image = ax.imshow(table, cmap=shades, norm=norm, aspect="auto")
    font = min(8.0, 72 * 0.62 * row_height)
    colours = image.cmap(norm(np.asarray(values, dtype=float)))  # (L, 4)
    dark = colours[:, :3] @ (0.299, 0.587, 0.114) < 0.5  # luma: white text on what is dark
    for (row, column), text, on_dark in zip(grid.cells, texts, dark, strict=True):
        colour = "white" if on_dark else "black"
        ax.text(column, row, text, ha="center", va="center", color=colour, fontsize=font)
    ax.set_xticks(range(width), grid.columns, rotation=40, ha="right", rotation_mode="anchor")
    shown = shown_rows(grid, row_height)
    ax.set_yticks(shown, [grid.rows[row] for row in shown])
    ax.set_xticks(np.arange(width + 1) - 0.5, minor=True)
    ax.set_yticks(np.arange(height + 1) - 0.5, minor=True)
    ax.grid(which="minor", color="white", linewidth=1 if row_height > 0.15 else 0.5)
    ax.tick_params(which="both", length=0)
    ax.spines[:].set_visible(False)
    return image


def shown_rows(grid: LayerGrid, pitch: float) -> list[int]:
    """Places of the rows that get a label where rows are `pitch` inches apart.

    Every one, every second, fifth, tenth ...; and each row that stands outside the blocks.
    """
    stride = next(n for n in (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000) if n * pitch >= _LABEL)
    outside = {r for (r, _), block in zip(grid.cells, grid.blocks, strict=True) if block is None}
    numbered = [row for row in range(len(grid.rows)) if row not in outside]
    near = {row + step for row in outside for step in range(-int(_LABEL / pitch), 1)}
    kept = {row for row in numbered[::stride] if stride == 1 or row not in near}
    return sorted(outside | kept)
