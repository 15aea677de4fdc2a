"""Random patterns beside uniform ranks: what ranks can change."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from autolora_meta.reporting.style import BRIGHT, DARK, GREY, axes, panels, styled
from autolora_meta.studies.headroom import Measured


@styled
def headroom_strip(room: Measured, ax: Axes | None = None) -> Figure:
    """What random patterns gain over uniform ranks, beside what replicates differ by.

    On the left a dot is a pattern's mean gain over uniform ranks, over replicates, with those of
    single replicates in grey; patterns are ordered by it. The bar is the gain of the best with its
    choice corrected for. On the right a dot is a replicate: the mean over patterns, held against
    that of all replicates. Both have one axis, up is better.

    Args:
        room: of a run.
        ax: where to draw; None makes a new figure.

    Example:
        >>> room = measured(StudyTable.load("runs/mine"), Path("runs/mine"))  # doctest: +SKIP
        >>> headroom_strip(room).savefig("headroom.pdf")                      # doctest: +SKIP
    """
    gain = room.uniform - room.losses  # (n, R)
    n, replicates = gain.shape
    order = np.argsort(-gain.mean(axis=1), kind="stable")
    figure, ax = axes(ax, max(4.8, min(7.2, 2.9 + 0.12 * n)), 2.9)
    left, right = panels(ax, 1, 2, widths=[max(3, n / 4), 1])
    spots = np.arange(n)
    left.axhline(0, color="black", linewidth=0.8)
    left.scatter(
        np.repeat(spots, replicates), gain[order].ravel(), s=6, color=GREY, alpha=0.6, linewidths=0
    )
    left.scatter(spots, gain[order].mean(axis=1), s=16, color=DARK, linewidths=0, zorder=3)
    corrected = room.found.gain
    ticks = [(float(spot), room.arms[i].partition(":")[2]) for spot, i in enumerate(order)]
    if corrected is not None:
        error = [[corrected.mean - corrected.low], [corrected.high - corrected.mean]]
        left.errorbar(
            -1.5,
            corrected.mean,
            error,
            fmt="D",
            color=BRIGHT,
            markersize=5,
            linewidth=1.6,
            zorder=3,
        )
        ticks.insert(0, (-1.5, "best"))
    step = -(-n // 25)
    shown = [tick for i, tick in enumerate(ticks) if tick[1] == "best" or i % step == 0]
    left.set_xticks(*zip(*shown, strict=True))
    left.set_xlabel("random pattern, the best first")
    unit = f", {room.called.unit}" if room.called.unit else ""
    left.set_ylabel(f"{room.called.label}{unit}\n(up is better)")
    left.set_title("gain over uniform", loc="left")
    means = -(room.losses.mean(axis=0) - room.losses.mean())  # (R,)
    right.axhline(0, color="black", linewidth=0.8)
    right.scatter([0] * replicates, means, s=16, color=DARK, alpha=0.8, linewidths=0, zorder=3)
    right.set_xlim(-1, 1)
    right.set_xticks([0], ["all patterns"])
    right.tick_params(axis="y", length=0)
    right.set_title("replicates, from their mean", loc="left")
    return figure
