"""Claims of headroom: what may be said of random patterns, the verdict in one sentence."""

import math

from autolora_meta.statistics.headroom import MIN_REPLICATES, Headroom


def verdict(found: Headroom, metric: str, unit: str = "") -> str:
    """Return whether ranks matter, in one sentence.

    It says that they do not only where even the upper limit of the gain is small beside what one
    pattern varies over replicates (`Headroom.small`).

    Args:
        found: in the unit.
        metric: name of the metric in a sentence.
        unit: such as "points"; empty for a metric without a unit.
    """
    of = f"in {unit} of {metric}" if unit else f"in {metric}"
    best = f"the best of {found.patterns} random patterns"
    gain = found.gain
    if gain is None:
        return (
            f"It cannot be told whether ranks matter here: with {found.replicates} replicates the "
            f"choice of the best of {found.patterns} patterns cannot be corrected for, which takes "
            f"at least {MIN_REPLICATES} (compare.replicates); uncorrected it is "
            f"{_size(found.seen, 2 * found.seen)} than uniform {of}, as the best of many is where "
            "nothing differs, too"
        )
    low, mean, high = gain.low, gain.mean, gain.high
    span = f"{_size(mean, high - low)} ({_span(low, high)}) than uniform {of}"
    if found.matter:
        return f"Ranks matter here: {best} is {span}"
    varies = f"one pattern varies by {_number(found.spread.over_replicates)} over replicates"
    use = "use uniform ranks and save the search"
    if found.nil and not found.differ:
        return f"Ranks do not matter here: {use}; {best} is {span}, where {varies}"
    if found.differ:
        said = f"Patterns differ here, but none is shown to beat uniform: {best} is {span}"
        return f"{said}, where {varies}: {use}" if found.nil else f"{said}; {_more(found)}"
    return (
        f"It cannot be told whether ranks matter here: {best} is {span}, where "
        f"{varies}; {_more(found)}"
    )


def spread_words(found: Headroom) -> str:
    """Return the standard deviations between patterns and between replicates, in words."""
    spread = found.spread
    p = "p < 0.001" if spread.p_value < 0.001 else f"p = {spread.p_value:.2g}"
    return (
        f"Standard deviations: {_number(spread.pattern)} between patterns ({p}), "
        f"{_number(spread.replicate)} between replicates, and {_number(spread.residual)} of one "
        "pattern in one replicate beyond both"
    )


def seen_words(found: Headroom) -> str:
    """Return what the best pattern seems to gain where its choice is not corrected for."""
    return (
        "The best is chosen on one half of the replicates and judged on the other, over all halves "
        f"(in the same replicates it would seem {_size(found.seen, 2 * found.seen)})"
    )


def explained_words(found: Headroom) -> str:
    """Return what explains the differences between patterns, in words."""
    told = found.explained
    if told is None:
        return "No kind of module and no single layer is shown to explain the differences"
    return (
        f"The share of the parameters in {told.name} explains {100 * told.share:.0f}% of the "
        f"differences between the patterns' means (p = {told.p_value:.2g} among all kinds and "
        f"layers): patterns with {'more' if told.helps else 'fewer'} there do better"
    )


def _more(found: Headroom) -> str:
    assert found.gain is not None
    needed = found.gain.needed(found.small)
    many = "more than 1,000 replicates" if math.isinf(needed) else f"about {needed:,.0f} replicates"
    return f"{many} would tell (compare.replicates)"


def _size(gain: float, width: float) -> str:
    """Return a gain as "0.11 better" or "0.02 worse"."""
    return f"{abs(gain):.{_decimals(width)}f} {'better' if gain >= 0 else 'worse'}"


def _span(low: float, high: float) -> str:
    """Return the ends of an interval of a gain."""
    decimals = _decimals(high - low)
    if low > 0:  # as many as show that the nearer end is not 0
        decimals = max(decimals, -math.floor(math.log10(low)))
    ends = f"{abs(low):.{decimals}f}", f"{abs(high):.{decimals}f}"
    if low >= 0:
        return f"{ends[0]} to {ends[1]}"
    return f"{ends[0]} worse to {ends[1]} {'better' if high >= 0 else 'worse'}"


def _decimals(width: float) -> int:
    """Return the decimals that show two figures of half a width."""
    half = abs(width) / 2
    return max(0, 1 - math.floor(math.log10(half))) if 0 < half < math.inf else 1


def _number(value: float) -> str:
    """Return two significant figures."""
    return f"{value:.{_decimals(2 * value)}f}"
