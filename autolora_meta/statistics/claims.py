"""Claims: what may be said of a paired difference, in one sentence."""

import math
from typing import Literal

from autolora_meta.statistics.paired import MIN_REPLICATES, PairedDifference


def shown(difference: PairedDifference, p_corrected: float | None = None) -> bool:
    """Return whether a difference may be claimed.

    Args:
        difference: over the replicates.
        p_corrected: its `p_test`, corrected for all comparisons of its family; None if it is the
            only comparison, or the primary one.
    """
    alpha = 1 - difference.level
    return difference.conclusive and (p_corrected is None or p_corrected <= alpha)


def sentence(
    difference: PairedDifference,
    name: str,
    baseline: str,
    metric: str,
    better: Literal["higher", "lower"] = "higher",
    unit: str = "",
    p_corrected: float | None = None,
) -> str:
    """Return what may be claimed of `name` against `baseline`, in one sentence.

    It says "beats" only of what is shown after the correction.

    Args:
        difference: `name` minus `baseline`, already in `unit` (see `PairedDifference.scaled`).
        name: the arm.
        baseline: the arm it is held against.
        metric: name of the metric in a sentence.
        better: which way of the metric is better.
        unit: such as "points"; empty for a metric without a unit.
        p_corrected: as of `shown`.

    Example:
        >>> from autolora_meta.statistics.paired import paired_difference
        >>> d = paired_difference([71.0, 74.0, 73.5], [67.0, 69.5, 70.0])
        >>> sentence(d, "learned", "uniform", "accuracy", unit="points")
        'learned beats uniform by 4.0 points of accuracy (95% interval 2.8 to 5.2, 3 replicates)'
    """
    d = difference
    of = f"{unit} of {metric}" if unit else f"of {metric}"
    if d.n < MIN_REPLICATES:
        return (
            f"no claim: {name} minus {baseline} is {_figure(d, d.mean, '+')} {of} over "
            f"{_count(d.n)}; a claim needs at least {MIN_REPLICATES}"
        )
    interval = f"{d.level * 100:g}% interval"
    if not shown(d, p_corrected):
        count = f"the same in all {_count(d.n)}" if d.sd == 0 and d.mean else _count(d.n)
        p = f"p = {d.p_test:.2g}" if p_corrected is None else f"p = {p_corrected:.2g} corrected"
        span = f"; {interval} {_figure(d, d.low)} to {_figure(d, d.high)}" if d.sd > 0 else ""
        needed = "" if d.conclusive else f"; {_needed(d)}"
        return (
            f"No difference between {name} and {baseline} is shown "
            f"({_figure(d, d.mean, '+')} {of}, {count}, {p}{span}{needed})"
        )
    gain = d if better == "higher" else d.scaled(-1)
    verb = "beats" if gain.mean > 0 else "is worse than"
    size = gain if gain.mean > 0 else gain.scaled(-1)
    span = f"{_figure(d, size.low)} to {_figure(d, size.high)}"
    by = _figure(d, size.mean)
    p = "" if p_corrected is None else f", p = {p_corrected:.2g} corrected"
    return f"{name} {verb} {baseline} by {by} {of} ({interval} {span}, {_count(d.n)}{p})"


def same_sentence(name: str, baseline: str) -> str:
    """Return a sentence about two arms with the same ranks and the same metrics."""
    return f"{name} and {baseline} are the same ranks here, with the same results"


def _needed(d: PairedDifference) -> str:
    n = d.needed
    if math.isinf(n):
        return "there is no difference to see"
    many = "more than 1,000" if n > 1000 else f"about {n:,}"
    return f"{many} replicates would be needed to see a difference of this size"


def _count(n: int) -> str:
    return f"{n} replicate" + ("" if n == 1 else "s")


def _figure(d: PairedDifference, value: float, sign: str = "") -> str:
    """Format `value` with the decimals that show two figures of the interval's half-width.

    If the interval leaves out 0, there are at least as many as show that its nearer end is not 0.
    """
    half = (d.high - d.low) / 2
    size = half if 0 < half < math.inf else abs(d.mean)
    decimals = max(0, 1 - math.floor(math.log10(size))) if size else 1
    if d.low > 0 or d.high < 0:
        decimals = max(decimals, -math.floor(math.log10(min(abs(d.low), abs(d.high)))))
    return f"{round(value, decimals) + 0.0:{sign}.{decimals}f}"  # + 0.0 turns -0.0 into 0.0
