"""Mean ranks of several methods side by side: where each of them puts its parameters."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap, Normalize
from matplotlib.figure import Figure

from autolora_meta.errors import InputError
from autolora_meta.ranks.pattern import RankPattern
from autolora_meta.reporting.aligned import aligned
from autolora_meta.reporting.layer_grid import layer_grid
from autolora_meta.reporting.plots.heatmap import Cells, draw_heatmaps
from autolora_meta.reporting.style import colour_bar, styled

_ACROSS = 3  # panels: more could not be read on a page


@styled
def mean_ranks(groups: Mapping[str, Sequence[RankPattern]], ax: Axes | None = None) -> Figure:
    """The mean rank of every layer under each of several methods: a heatmap for each.

    One scale of colours holds for all. A layer that a pattern does not name has rank 0 there.

    Args:
        groups: name of a method or setting -> its rank patterns, such as one of each seed.
        ax: where to draw; None makes a new figure.

    Raises:
        InputError: a group or a pattern is empty, or the patterns are of different models.

    Example:
        >>> mean_ranks({"learned": learned, "eva": eva}).savefig("ranks.pdf")  # doctest: +SKIP
    """
    if not groups or not all(each and all(map(len, each)) for each in groups.values()):
        raise InputError("a group has no rank patterns with layers, so there is no mean to draw")
    shown = iter(aligned([pattern for each in groups.values() for pattern in each]))
    members = [[next(shown) for _ in each] for each in groups.values()]
    means = np.array([np.mean([p.ranks for p in each], axis=0) for each in members])  # (M, L)
    decimals = 1 if np.mod(means, 1).any() else 0
    cells = [
        Cells(
            f"{title}\n{_size(each)}",
            mean.tolist(),
            [f"{value:.{decimals}f}" if value else "0" for value in mean],
        )
        for title, each, mean in zip(groups, members, means, strict=True)
    ]
    blues = colormaps["Blues"](np.linspace(0, 0.95, 255))
    shades, norm = ListedColormap(["white", *blues]), Normalize(0, max(1.0, means.max()))
    grid = layer_grid(members[0][0].names)
    figure, parts = draw_heatmaps(ax, grid, cells, shades, norm, across=_ACROSS)
    colour_bar(figure, parts[0].images[0], parts, label="mean rank")
    return figure


def _size(patterns: Sequence[RankPattern]) -> str:
    parameters = sum(pattern.parameters for pattern in patterns) / len(patterns)
    count = f"{len(patterns)} patterns" if len(patterns) > 1 else "1 pattern"
    return f"{count}, {parameters:,.0f} parameters"
