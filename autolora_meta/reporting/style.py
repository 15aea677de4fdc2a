"""How every figure looks: sizes for a column of a paper, colours that print in grey."""

import re
from collections.abc import Callable, Sequence
from functools import wraps
from io import BytesIO
from pathlib import Path
from typing import Any, ParamSpec

import matplotlib
import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colorbar import Colorbar
from matplotlib.colors import BoundaryNorm, ListedColormap
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.ticker import MaxNLocator

from autolora_meta.errors import InputError
from autolora_meta.foundation.places import replace_bytes

# Okabe and Ito's palette, two that differ in lightness too.
DARK, BRIGHT, GREY = "#0072B2", "#E69F00", "#888888"
PALETTE = (DARK, BRIGHT, "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#000000")
SHAPES = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "p", "*", "h")  # what tells in grey
BLOCKS = "viridis"  # lightness rises evenly, so the order of blocks survives printing in grey

_STYLE: dict[Any, Any] = {
    "font.size": 8,
    "axes.titlesize": 8,
    "axes.labelsize": 8,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "legend.fontsize": 7,
    "axes.formatter.useoffset": False,  # 1.097 + 2e-4 is no label
    "axes.spines.top": False,
    "axes.spines.right": False,
    "savefig.dpi": 200,
    "svg.hashsalt": "autolora-meta",  # else the names inside an SVG are drawn by lot
}
_MARK = re.compile(r"\$\\mathdefault\{[-\u2212\d.^{} ]*\}\$")  # of a logarithmic axis
_UNDATED = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}  # equal runs, equal bytes

FORMATS = ("png", "svg", "pdf")

P = ParamSpec("P")


def styled(plot: Callable[P, Figure]) -> Callable[P, Figure]:
    """Draw under the package's style, and leave the person's own settings as they are."""

    @wraps(plot)
    def drawn(*args: P.args, **kwargs: P.kwargs) -> Figure:
        with matplotlib.rc_context(_STYLE):
            return plot(*args, **kwargs)

    return drawn


def known_format(path: Path) -> Path:
    """`path`, if its ending is that of a format that figures are written in.

    Raises:
        InputError: it is not.
    """
    if path.suffix.removeprefix(".") not in FORMATS:
        raise InputError(
            f"{path} ends with {path.suffix or 'no format'}; figures are written as "
            f".{', .'.join(FORMATS)}"
        )
    return path


def save(figure: Figure, path: Path) -> None:
    """Write a figure, its format told by the ending; equal figures give equal bytes.

    Some of the style (resolution, the salt of names) counts only while a file is written.
    """
    ending, content = path.suffix.removeprefix("."), BytesIO()
    _as_they_stand(figure)
    with matplotlib.rc_context(_STYLE):
        figure.savefig(content, format=ending, metadata=_UNDATED.get(ending))
    replace_bytes(path, content.getvalue())


def save_all(figure: Figure, folder: Path, name: str) -> list[Path]:
    """Write a figure in every format of `FORMATS`; its parts are laid out once for all of them."""
    _as_they_stand(figure)
    engine = figure.get_layout_engine()
    if engine is not None:
        with matplotlib.rc_context(_STYLE):
            engine.execute(figure)
        figure.set_layout_engine("none")
    files = [folder / f"{name}.{kind}" for kind in FORMATS]
    for file in files:
        save(figure, file)
    return files


def _as_they_stand(figure: Figure) -> None:
    """Let a name with a dollar stand as it is: it is no mathematics, as marks of an axis are."""
    for text in figure.findobj(Text):
        assert isinstance(text, Text)
        if "$" in text.get_text() and not _MARK.fullmatch(text.get_text()):
            text.set_parse_math(False)


def axes(ax: Axes | None, width: float, height: float) -> tuple[Figure, Axes]:
    """The given axes and their figure, or new ones of that size in inches; no window opens."""
    if ax is None:
        figure = Figure(figsize=(width, height), layout="constrained")
        return figure, figure.add_subplot()
    figure = ax.get_figure(root=True)
    if figure is None:
        raise InputError("the axes belong to no figure; give axes made by a figure's subplots")
    return figure, ax


def panels(
    ax: Axes,
    rows: int,
    columns: int,
    *,
    sharex: bool = False,
    sharey: bool = True,
    heights: Sequence[float] | None = None,
    widths: Sequence[float] | None = None,
) -> list[Axes]:
    """Cut the place of `ax` into rows x columns panels, row by row; `ax` goes.

    Raises:
        InputError: `ax` was placed by hand, so there is no grid to cut.
    """
    place, figure = ax.get_subplotspec(), ax.get_figure(root=False)
    if place is None or figure is None:
        raise InputError("a figure of several panels needs axes made by a figure's subplots")
    ax.remove()
    grid = place.subgridspec(rows, columns, height_ratios=heights, width_ratios=widths)
    return list(grid.subplots(squeeze=False, sharex=sharex, sharey=sharey).flat)


def tiles(ax: Axes, count: int, across: int) -> list[Axes]:
    """Cut the place of `ax` into `count` panels with common axes, `across` in a row; `ax` goes."""
    cut = panels(ax, -(-count // across), across, sharex=True)
    for unused in cut[count:]:
        unused.remove()
    for lowest in cut[max(0, count - across) : count]:
        lowest.tick_params(axis="x", labelbottom=True)
    return cut[:count]


def rank_colours(most: int) -> tuple[ListedColormap, BoundaryNorm]:
    """Return a colour for each rank from 0, which is white, to `most`."""
    blues = colormaps["Blues"](np.linspace(0.15, 0.95, most))
    shades = ListedColormap(["white", *blues])
    return shades, BoundaryNorm(np.arange(-0.5, most + 1), shades.N)


def rank_bar(figure: Figure, image: ScalarMappable, ax: Axes | Sequence[Axes]) -> None:
    """A key to the colours of ranks."""
    colour_bar(figure, image, ax, label="rank", ticks=MaxNLocator(9, integer=True))


def colour_bar(
    figure: Figure, image: ScalarMappable, ax: Axes | Sequence[Axes], **settings: Any
) -> Colorbar:
    """A key to colours beside `ax`, as narrow in a high figure as in a low one."""
    aspect = 20 * max(1.0, figure.get_figheight() / 3)
    bar = figure.colorbar(image, ax=ax, aspect=aspect, **settings)
    bar.ax.tick_params(which="both", length=0)
    return bar
