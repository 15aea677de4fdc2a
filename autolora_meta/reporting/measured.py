"""The points of `plots.metric_against_cost` and `metric_against_parameters`, from a table."""

from collections.abc import Sequence
from statistics import fmean

from autolora_meta.reporting.cells import points
from autolora_meta.reporting.plots.tradeoff import Measured
from autolora_meta.studies.labels import value_label
from autolora_meta.studies.questions import ARM
from autolora_meta.studies.runs import value_of
from autolora_meta.studies.table import StudyTable


def measured(
    table: StudyTable, metric: str | None = None, along: Sequence[str] = ("ranks.budget",)
) -> list[Measured]:
    """Return one point for each setting and arm that has finished.

    Args:
        table: of a run or a study.
        metric: None: the main one.
        along: keys whose values lie along one series, such as the budget; other settings make
            series of their own.

    Example:
        >>> table = StudyTable.load("runs/mine")                                  # doctest: +SKIP
        >>> plots.metric_against_parameters(measured(table), label="accuracy")    # doctest: +SKIP
    """
    metric = metric or table.metrics[0]
    told = [k for k in table.keys if k not in along and len(table.values(k)) > 1] or [ARM]
    return [
        Measured(
            ", ".join(value_label(value_of(rows[0], key)) for key in told),
            fmean(row["cost"] for row in rows),
            fmean(row["parameters"] for row in rows),
            tuple(row["metrics"][metric] for row in rows),
        )
        for rows in points(table)
    ]
