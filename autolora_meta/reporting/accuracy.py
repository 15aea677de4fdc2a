"""Hypergradient accuracy: a table of rows, and a figure of error against cost."""

import math
from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from autolora_meta.errors import InputError
from autolora_meta.foundation.cost import plain_steps
from autolora_meta.reporting.style import BRIGHT, DARK, axes, panels, styled
from autolora_meta.reporting.summary import table

MARKERS = {
    "darts": "o",
    "sama": "s",
    "one_step": "D",
    "unrolled": "p",
    "neumann": "v",
    "cg": "^",
    "nystrom": "P",
}
BETTY = "betty-"
FLOOR, CEILING = 1e-16, 1e2
LARGEST_COST = 1e3
SETTINGS = (
    "steps",
    "iterations",
    "columns",
    "damping",
    "rho",
    "darts_alpha",
    "neumann_iterations",
    "cg_iterations",
)


def accuracy_table(rows: Sequence[Any]) -> str:
    """One line a row: where, what, how far off, at what cost.

    Args:
        rows: objects with the fields of `verification.measure.AccuracyRow`.
    """
    return table(
        [
            "problem",
            "method",
            "setting",
            "relative error",
            "cosine",
            "gap",
            "forwards + backwards + double",
        ],
        [
            [
                _place(row),
                row.method + (f" ({row.difference})" if row.difference else ""),
                _setting(row),
                f"{row.relative_error:.1e}",
                f"{row.cosine:.5f}",
                "" if row.gap is None else f"{row.gap:.1e}",
                f"{row.cost.forwards} + {row.cost.backwards} + {row.cost.double_backwards}",
            ]
            for row in rows
        ],
    )


@styled
def accuracy_against_cost(rows: Sequence[Any], ax: Axes | None = None) -> Figure:
    """Relative error of the implicit part against what it costs, a panel for each problem.

    Shape is the method, colour tells ours from betty's, a hollow marker is a forward difference.
    Errors below 1e-16 and above 100 stand at the edge.

    Args:
        rows: objects with the fields of `verification.measure.AccuracyRow`.
        ax: where to draw; None makes a new figure.

    Raises:
        InputError: there is nothing to draw.
    """
    shown = [row for row in rows if plain_steps(row.cost) > 0]
    if not shown:
        raise InputError(f"none of the {len(rows)} rows has an implicit part to draw")
    places = list(dict.fromkeys(map(_place, shown)))
    across = min(len(places), 4 if len(places) > 6 else 3)
    down = -(-len(places) // across)
    figure, ax = axes(ax, 0.6 + 1.75 * across, 0.9 + 1.7 * down)
    parts = panels(ax, down, across, sharex=True)
    for part, place in zip(parts, places, strict=False):
        for row in shown:
            if _place(row) == place:
                _point(part, row)
        part.set_title(place, loc="left", fontsize=7)
        part.set_xscale("log")
        part.set_yscale("log")
        part.set_xlim(0.6, LARGEST_COST)
        part.set_ylim(FLOOR / 10, CEILING * 10)
        part.set_xticks([1, 10, 100, 1000])
        part.set_yticks([1e-16, 1e-12, 1e-8, 1e-4, 1e0])
        part.grid(axis="y", linewidth=0.3, alpha=0.6)
    for unused in parts[len(places) :]:
        unused.remove()
    for i, part in enumerate(parts[: len(places)]):
        if i % across == 0:
            part.set_ylabel("relative error")
        if i + across >= len(places):
            part.set_xlabel("cost, plain steps")
            part.tick_params(labelbottom=True)
    figure.legend(
        handles=_key({row.method for row in shown}, any(r.difference == "forward" for r in shown)),
        loc="outside lower center",
        ncols=min(6, across * 2),
        frameon=False,
        handletextpad=0.2,
    )
    return figure


def _point(ax: Axes, row: Any) -> None:
    colour = BRIGHT if row.method.startswith(BETTY) else DARK
    error = row.relative_error if math.isfinite(row.relative_error) else math.inf
    ax.plot(
        plain_steps(row.cost),
        min(max(error, FLOOR), CEILING),
        MARKERS[row.method.removeprefix(BETTY)],
        color=colour,
        markerfacecolor="white" if row.difference == "forward" else colour,
        markersize=5,
        alpha=0.9,
        clip_on=False,
    )


def _key(methods: set[str], forward: bool) -> list[Line2D]:
    def entry(marker: str, colour: str, label: str, face: str | None = None) -> Line2D:
        return Line2D(
            [], [], linestyle="", marker=marker, color=colour, label=label,
            markerfacecolor=face or colour, markersize=5,
        )  # fmt: skip

    entries = [entry(MARKERS[name], DARK, name) for name in MARKERS if name in methods]
    if forward:
        entries.append(entry("o", DARK, "darts, forward", "white"))
    theirs = [name for name in MARKERS if f"{BETTY}{name}" in methods]
    return entries + [entry(MARKERS[name], BRIGHT, f"{BETTY}{name}") for name in theirs]


def _place(row: Any) -> str:
    """Problem and what tells its variants apart."""
    if row.condition is not None:
        return f"{row.problem}, condition {row.condition:g}"
    if row.problem == "transformer":
        return f"{row.problem}, dropout {row.dropout:g}"
    return f"{row.problem}, {row.dtype}" if row.problem == "model" else row.problem


def _setting(row: Any) -> str:
    """How much the solver does, and at what damping."""
    kept = {k: v for k, v in row.options.items() if k in SETTINGS}
    return ", ".join(f"{name} {value}" for name, value in kept.items())
