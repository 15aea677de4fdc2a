"""The rows of `benchmarks.planted_ranks` as table, targets and paired differences."""

import statistics
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from autolora_meta.foundation.progress import Row
from autolora_meta.reporting.markdown import table
from autolora_meta.statistics.paired import paired_difference

KEY = ("arm", "method", "constraint", "importance", "rule")
SCORES = ("spearman", "mean_absolute_error", "excess_loss_ratio")
# Regime -> (least Spearman, greatest error, greatest excess) of the shipped settings.
TARGETS: dict[str, tuple[float, float | None, float | None]] = {
    "base": (0.98, 0.3, None),
    "few": (0.9, None, 1.05),
}
HARD = (0.85, None, 1.05)


def means(rows: Sequence[Row]) -> dict[tuple[Any, ...], dict[str, list[float]]]:
    """Return (regime, *KEY) -> score -> its values, seed by seed."""
    found: dict[tuple[Any, ...], dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for row in sorted(rows, key=lambda row: row["seed"]):
        for score in SCORES:
            found[(row["regime"], *(row[key] for key in KEY))][score].append(row[score])
    return found


def summary(rows: Sequence[Row]) -> str:
    """Return means over the seeds, targets, and learned against frozen in each regime."""
    found = means(rows)
    body = [
        [regime, *("-" if part is None else part for part in key)]
        + [f"{statistics.fmean(scores[score]):.2f}" for score in SCORES]
        for (regime, *key), scores in found.items()
    ]
    head = ["regime", *KEY, "Spearman", "error", "excess"]
    return "\n".join([table(head, body), "", *verdicts(rows), "", *against_frozen(rows)])


def verdicts(rows: Sequence[Row]) -> list[str]:
    """Return a sentence for each target of the shipped settings."""
    sentences = []
    for (regime, *_), scores in means([row for row in rows if row["default"]]).items():
        bounds = TARGETS.get(regime, HARD)
        for score, bound, sign in zip(SCORES, bounds, (1, -1, -1), strict=True):
            if bound is not None:
                mean = statistics.fmean(scores[score])
                word = "holds " if sign * mean >= sign * bound else "MISSED"
                name = score.replace("_", " ")
                sentences.append(f"{word} {regime}: {name} {mean:.3f}, bound {bound:g}")
    return sentences


def against_frozen(rows: Sequence[Row]) -> list[str]:
    """Return learned minus frozen, paired over seeds, under every read-out at the true budget."""
    found = means(rows)
    sentences = []
    for (regime, arm, *rest, importance, rule), scores in found.items():
        other = (regime, "frozen", None, rest[-1], importance, rule)
        both = arm == "learned" and other in found and rule == "budget"
        if not both or len(scores["spearman"]) < 2:
            continue
        for score in ("spearman", "excess_loss_ratio"):
            d = paired_difference(scores[score], found[other][score])
            sentences.append(
                f"{regime}, {rest[0]}, {importance}: {score.replace('_', ' ')} of learned minus "
                f"frozen {d.mean:+.3f} ({d.low:+.3f} to {d.high:+.3f}, {d.n} seeds)"
            )
    return sentences
