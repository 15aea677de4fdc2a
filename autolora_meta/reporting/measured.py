"""The points of `plots.metric_against_cost` and `metric_against_parameters`, from results."""

from collections.abc import Sequence
from statistics import fmean
from typing import Any

from autolora_meta.reporting.plots.tradeoff import Measured
from autolora_meta.studies.compare import Comparison
from autolora_meta.studies.options import ARM
from autolora_meta.studies.plan import value_label
from autolora_meta.studies.table import StudyTable


def measured(
    found: StudyTable | Comparison,
    metric: str | None = None,
    along: Sequence[str] = ("ranks.budget",),
) -> list[Measured]:
    """One point for each setting and arm that has finished.

    Args:
        found: of a study or of a run.
        metric: None: the main one.
        along: keys whose values lie along one series, such as the budget; other settings make
            series of their own.

    Example:
        >>> table = StudyTable.load("runs/mine")                                  # doctest: +SKIP
        >>> plots.metric_against_parameters(measured(table), label="accuracy")    # doctest: +SKIP
    """
    metric = metric or found.metrics[0]
    if isinstance(found, Comparison):
        return [
            Measured(
                arm,
                found.costs[arm],
                fmean(row["parameters"] for row in found.rows if row["arm"] == arm),
                tuple(found.values(arm, metric)),
            )
            for arm in found.arms
        ]
    told = [k for k in found.keys if k not in along and len(found.values(k)) > 1] or [ARM]
    groups: dict[str, list[dict[str, Any]]] = {}
    for row in found.finished:
        groups.setdefault(repr([row["settings"], row["arm"]]), []).append(row)
    points = []
    for rows in groups.values():
        settings = rows[0]["settings"] | {ARM: rows[0]["arm"]}
        points.append(
            Measured(
                ", ".join(value_label(settings[key]) for key in told),
                fmean(row["cost"] for row in rows),
                fmean(row["parameters"] for row in rows),
                tuple(row["metrics"][metric] for row in rows),
            )
        )
    return points
