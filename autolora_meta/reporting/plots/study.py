"""What a study found: every setting's replicates, and how it differs from its baseline."""

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from autolora_meta.errors import InputError
from autolora_meta.finetuning.tasks import metric_called
from autolora_meta.reporting.plots.forest import (
    ForestRow,
    draw_differences,
    draw_replicates,
    label_rows,
)
from autolora_meta.reporting.style import axes, panels, styled
from autolora_meta.studies.contrasts import Contrast
from autolora_meta.studies.labels import value_label
from autolora_meta.studies.questions import ARM
from autolora_meta.studies.table import StudyTable

_LINE = 34  # letters of a label before it goes on below


@styled
def study(
    table: StudyTable,
    key: str | None = None,
    baseline: Any = None,
    metric: str | None = None,
    ax: Axes | None = None,
    *,
    contrasts: Sequence[Contrast] | None = None,
) -> Figure:
    """Every setting of a study: its replicates, and its paired difference from the baseline.

    Settings that are compared with each other stand together, the baseline first. A marker is
    filled where the difference is shown, after Holm's correction.

    Args:
        table: of a study.
        key: what is compared, all else equal; None: the first key with several values.
        baseline: the value of it that differences are taken from; None: `uniform` of arms, else the
            first.
        metric: None: the main one of the task.
        ax: where to draw; None makes a new figure.
        contrasts: these comparisons, corrected with others (`answers`); None: corrected over all
            that the figure shows.

    Raises:
        InputError: no run has finished, or there is no such key, value or metric.

    Example:
        >>> study(StudyTable.load("runs/mine")).savefig("study.pdf")  # doctest: +SKIP
    """
    metric = metric or table.metrics[0]
    key = key or next((k for k in table.keys if len(table.values(k)) > 1), table.keys[-1])
    if baseline is None:
        values = table.values(key)
        baseline = "uniform" if key == ARM and "uniform" in values else values[0]
    if contrasts is None:
        contrasts = table.compare(key, baseline=baseline, metric=metric)
    rows = _rows(table, key, baseline, metric, contrasts)
    figure, ax = axes(ax, 7.2, _height(rows))
    left, right = panels(ax, 1, 2)
    name = metric_called(metric)
    draw_replicates(left, rows, name.label)
    against = textwrap.shorten(value_label(baseline), 40, placeholder=" ...")
    draw_differences(right, rows, f"{name.label}, difference from {against}", name.better)
    label_rows(left, rows)
    right.tick_params(axis="y", length=0)
    right.spines["left"].set_visible(False)
    return figure


@styled
def paired_differences(contrasts: Sequence[Contrast], ax: Axes | None = None) -> Figure:
    """Paired differences with their intervals, a row for each contrast.

    A marker is filled where the difference is shown, after Holm's correction over their family.

    Args:
        contrasts: of one question, so of one key, baseline and metric.
        ax: where to draw; None makes a new figure.

    Raises:
        InputError: there is no contrast, or they are of several metrics.

    Example:
        >>> found = table.compare("arm", baseline="uniform")  # doctest: +SKIP
        >>> paired_differences(found)                         # doctest: +SKIP
    """
    if len({contrast.metric for contrast in contrasts}) != 1:
        raise InputError(
            f"paired differences are drawn of one metric, from at least one contrast; given "
            f"{len(contrasts)} contrasts of metrics "
            f"{sorted({c.metric for c in contrasts})}; give those of one `compare`"
        )
    first = contrasts[0].where
    told = [k for k in first if any(c.where[k] != first[k] for c in contrasts)]
    rows = [
        ForestRow(_label({k: c.where[k] for k in told}, c.value), {}, c.difference, claim=c.holds)
        for c in contrasts
    ]
    figure, ax = axes(ax, 5.0, _height(rows))
    metric = metric_called(contrasts[0].metric)
    against = textwrap.shorten(value_label(contrasts[0].baseline), 40, placeholder=" ...")
    draw_differences(ax, rows, f"{metric.label}, difference from {against}", metric.better)
    label_rows(ax, rows)
    return figure


def _rows(
    table: StudyTable, key: str, baseline: Any, metric: str, contrasts: Sequence[Contrast]
) -> list[ForestRow]:
    """The finished settings, those that share all but `key` in one block, its baseline first."""
    found = {_text(c.where, c.value): c for c in contrasts}
    blocks: dict[str, list[tuple[dict[str, Any], Any, dict[int, float]]]] = {}
    for row in table.finished:
        settings = row["settings"] | {ARM: row["arm"]}
        value = settings.pop(key)
        block = blocks.setdefault(_text(settings, None), [])
        entry = next((e for e in block if e[1] == value), None)
        if entry is None:
            entry = (settings, value, {})
            block.append(entry)
        entry[2][row["seed"]] = row["metrics"][metric]
    shown = [k for k in table.keys if k == key or len(table.values(k)) > 1]
    rows = []
    for number, block in enumerate(blocks.values()):
        base = next((values for _, value, values in block if value == baseline), {})
        for where, value, values in sorted(block, key=lambda entry: entry[1] != baseline):
            contrast = found.get(_text(where, value))
            told = {k: v for k, v in where.items() if k in shown}
            rows.append(
                ForestRow(
                    _label(told, value),
                    values,
                    difference=contrast and contrast.difference,
                    baseline=value == baseline,
                    apart=tuple(v - base[s] for s, v in values.items() if contrast and s in base),
                    claim=contrast is not None and contrast.holds,
                    block=number,
                )
            )
    return rows


def _height(rows: Sequence[ForestRow]) -> float:
    """Inches: a row holds its label, and many rows stand closer."""
    pitch = 0.34 if len(rows) <= 12 else 0.25
    return 0.9 + sum(max(pitch, 0.13 * (row.label.count("\n") + 1) + 0.08) for row in rows)


def _label(where: Mapping[str, Any], value: Any) -> str:
    return textwrap.fill(", ".join(value_label(v) for v in [*where.values(), value]), _LINE)


def _text(where: Mapping[str, Any], value: Any) -> str:
    return repr((sorted(where.items(), key=lambda item: item[0]), value))
