"""Cells: the tables of a study as header and rows, for the summary and the page."""

import json
import math
import statistics
from collections.abc import Sequence

from autolora_meta.foundation.progress import Row
from autolora_meta.studies.contrasts import Contrast
from autolora_meta.studies.labels import value_label
from autolora_meta.studies.patterns import measured_together
from autolora_meta.studies.runs import value_of
from autolora_meta.studies.table import StudyTable

Cells = tuple[list[str], list[list[object]]]


def points(table: StudyTable) -> list[list[Row]]:
    """Return the finished runs of each setting and arm, one a seed, in the order of the grid.

    Random patterns that are measured together (`headroom`) are not among them.
    """
    groups: dict[str, list[Row]] = {}
    together = measured_together(table)
    for row in table.finished:
        if row["arm"] in together:
            continue
        groups.setdefault(json.dumps([row["settings"], row["arm"]], sort_keys=True), []).append(row)
    return list(groups.values())


def means(table: StudyTable, *, timed: bool = False) -> Cells:
    """Return one row a setting and arm: mean and standard deviation over seeds, size and cost.

    Args:
        table: of a run or a study.
        timed: with seconds, where all runs were timed.
    """
    metrics = table.metrics
    timed = timed and all(row["id"] in table.took for row in table.finished)
    cells: list[list[object]] = []
    for rows in points(table):
        line: list[object] = [value_label(value_of(rows[0], key)) for key in table.keys]
        line.append(_size([row["parameters"] for row in rows]))
        for metric in metrics:
            each = [row["metrics"][metric] for row in rows]
            line.append(_mean(each))
        line.append(f"{statistics.fmean(row['cost'] for row in rows):.0f}")
        if timed:
            seconds = statistics.fmean(table.took[row["id"]].all_seconds for row in rows)
            line.append(f"{seconds:.0f}")
        cells.append([*line, len(rows)])
    header = [*table.keys, "parameters", *metrics, "plain steps", *["seconds"] * timed]
    return [*header, "replicates"], cells


def every_run(table: StudyTable) -> Cells:
    """Return one row a finished run."""
    runs: list[list[object]] = [
        [
            *(value_label(value_of(row, key)) for key in table.keys),
            row["seed"],
            f"{row['parameters']:,}",
            *(f"{row['metrics'][metric]:.4f}" for metric in table.metrics),
            f"{row['cost']:.0f}",
            row["id"],
        ]
        for row in table.finished
    ]
    return [*table.keys, "seed", "parameters", *table.metrics, "plain steps", "run"], runs


def differences(contrasts: Sequence[Contrast]) -> Cells:
    """Return one row a contrast: the difference, its interval, its size and its p-values."""
    rows: list[list[object]] = [
        [
            ", ".join(map(value_label, [*c.where.values(), c.value])),
            value_label(c.baseline),
            c.metric,
            f"{c.difference.mean:.4g}",
            *(_finite(x, ".4g") for x in (c.difference.low, c.difference.high)),
            _finite(c.difference.effect, ".2f"),
            f"{c.difference.p_test:.3g}",
            f"{c.p_holm:.3g}",
            c.difference.n,
        ]
        for c in contrasts
    ]
    header = ["value", "baseline", "metric", "difference", "low", "high", "effect size", "p"]
    return [*header, "p (corrected)", "replicates"], rows


def _mean(values: Sequence[float]) -> str:
    if not all(map(math.isfinite, values)):
        return "not finite"
    spread = f" ± {statistics.stdev(values):.3f}" if len(values) > 1 else ""
    return f"{statistics.fmean(values):.3f}{spread}"


def _finite(value: float, form: str) -> str:
    return format(value, form) if math.isfinite(value) else ""


def _size(sizes: Sequence[float]) -> str:
    low, high = min(sizes), max(sizes)
    return f"{low:,.0f}" if low == high else f"{low:,.0f} to {high:,.0f}"
