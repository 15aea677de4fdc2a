"""Rows of replicates, and how each row differs from its baseline: what comparisons are drawn of."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np
from matplotlib.axes import Axes

from autolora_meta.reporting.style import DARK, GREY
from autolora_meta.statistics.paired import MIN_REPLICATES, PairedDifference

Better = Literal["higher", "lower"] | None
TICKS = 5  # more, and numbers with four decimals run into each other


@dataclass(frozen=True)
class ForestRow:
    """One arm or one setting.

    Args:
        label: on the axis.
        values: seed -> the metric.
        difference: to the baseline; None for the baseline itself, and where it is not known.
        baseline: this row is what others are held against.
        apart: the differences of the replicates.
        claim: the difference may be claimed, so that its marker is filled.
        block: rows of one block share a baseline.
    """

    label: str
    values: Mapping[int, float]
    difference: PairedDifference | None = None
    baseline: bool = False
    apart: tuple[float, ...] = ()
    claim: bool = False
    block: int = 0


def label_rows(ax: Axes, rows: Sequence[ForestRow]) -> None:
    """The labels, first row on top, and a faint line between blocks."""
    ax.set_yticks(range(len(rows)), [row.label for row in rows])
    ax.set_ylim(len(rows) - 0.5, -0.5)
    for place, (above, below) in enumerate(pairwise(rows)):
        if above.block != below.block:
            ax.axhline(place + 0.5, color="#bbbbbb", linewidth=0.6)


def draw_replicates(ax: Axes, rows: Sequence[ForestRow], label: str) -> None:
    """Each replicate a dot, joined over the rows of a block by a faint line; a bar is the mean."""
    places = list(enumerate(rows))
    for block in dict.fromkeys(row.block for row in rows):
        inside = [(place, row) for place, row in places if row.block == block]
        for seed in dict.fromkeys(seed for _, row in inside for seed in row.values):
            path = [(row.values[seed], place) for place, row in inside if seed in row.values]
            ax.plot(*zip(*path, strict=True), color="#cccccc", linewidth=0.7, zorder=1)
    for place, row in places:
        dots = list(row.values.values())
        ax.scatter(dots, [place] * len(dots), s=12, color=DARK, alpha=0.8, linewidths=0, zorder=2)
        ax.vlines(np.mean(dots), place - 0.27, place + 0.27, color="black", linewidth=1.8, zorder=3)
    ax.locator_params(axis="x", nbins=TICKS)
    ax.set_xlabel(label)
    ax.set_title("replicates and their mean", loc="left")


def draw_differences(ax: Axes, rows: Sequence[ForestRow], label: str, better: Better) -> None:
    """The mean paired difference with its interval, and below it those of the replicates.

    The marker is filled where `claim` is set; below 3 replicates no interval is drawn.
    """
    ax.axvline(0, color="black", linewidth=0.8)
    for place, row in enumerate(rows):
        d = row.difference
        if row.baseline:
            ax.text(0, place, " baseline", va="center", color="#555555")
        if d is None:
            continue
        below = [place + 0.22] * len(row.apart)
        ax.scatter(row.apart, below, s=8, color=GREY, alpha=0.7, linewidths=0, zorder=1)
        if d.n >= MIN_REPLICATES:
            ax.hlines(place, d.low, d.high, color=DARK, linewidth=1.6, zorder=2)
        face = DARK if row.claim else "white"
        ax.plot(d.mean, place, "o", color=DARK, markerfacecolor=face, markersize=5, zorder=3)
    found = [row.difference for row in rows if row.difference is not None]
    levels = " and ".join(sorted({f"{d.level * 100:g}%" for d in found}))
    ax.set_title(f"paired difference, {levels} interval" if found else "", loc="left")
    ax.locator_params(axis="x", nbins=TICKS)
    words = {"higher": "\n(right is better)", "lower": "\n(left is better)"}
    ax.set_xlabel(label + (words[better] if better else ""))
