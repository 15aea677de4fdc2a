"""Contrasts: values of a key of a study against its baseline, paired over seeds."""

import json
import statistics
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from autolora_meta.errors import InputError, unknown
from autolora_meta.finetuning.tasks import metric_called
from autolora_meta.statistics.claims import same_sentence, sentence, shown
from autolora_meta.statistics.paired import PairedDifference, holm, paired_difference
from autolora_meta.studies.labels import value_label, words
from autolora_meta.studies.questions import ARM, EVERY, Question
from autolora_meta.studies.runs import Runs, value_of
from autolora_meta.studies.schema import Row

Sides = tuple[list[list[Row]], list[list[Row]]]


@dataclass(frozen=True)
class Contrast:
    """A value of a key against its baseline, all else equal, paired over seeds.

    Args:
        key: what is compared, such as `arm` or `search.hypergradient`.
        value, baseline: the two values of it.
        where: the other keys and what they are on both sides.
        metric: the metric's name.
        difference: value minus baseline, in the unit that the metric is stored in;
            `difference.effect` is d_z, `difference.needed` the replicates that would show it.
        missing: seeds that are left out because a run of theirs has not finished.
        runs: ids of the runs of either side, the same whichever side is the baseline.
        cost: mean plain steps of value and of baseline.
        parameters: mean adapter parameters of value and of baseline.
        same: both chose the same ranks and came to the same metrics, in every replicate.
        p_holm: `difference.p_test` after Holm's correction over the family.
        family: comparisons that the correction counts: all of one call of `compare` but those of
            equal ranks with equal metrics, which cannot differ.
        primary: it is what the study was to show (`answers.answers`); all others are secondary.
    """

    key: str
    value: Any
    baseline: Any
    where: Mapping[str, Any]
    metric: str
    difference: PairedDifference
    missing: tuple[int, ...]
    runs: frozenset[str]
    cost: tuple[float, float]
    parameters: tuple[float, float]
    same: bool
    p_holm: float = 1.0
    family: int = 1
    primary: bool = False

    @property
    def holds(self) -> bool:
        """The difference may be claimed, among all that were compared with it."""
        return not self.same and shown(self.difference, self._corrected)

    @property
    def sentence(self) -> str:
        """What may be said, with what else a reader must know."""
        metric = metric_called(self.metric)
        names = _name(self.key, self.value), _name(self.key, self.baseline)
        if self.same:
            said = same_sentence(*names)
        else:
            scaled = self.difference.scaled(metric.factor)
            how = metric.label, metric.better, metric.unit, self._corrected
            said = sentence(scaled, *names, *how)
        mine, theirs = self.parameters
        if abs(mine - theirs) > 0.01 * theirs:
            said += f"; {mine:,.0f} parameters against {theirs:,.0f}"
        if self.missing:
            said += f"; left out, not finished: seed {', '.join(map(str, self.missing))}"
        settings = [words({k: v for k, v in self.where.items() if k != ARM}), self.where.get(ARM)]
        place = ", ".join(filter(None, settings))
        return f"{place}: {said}" if place else said

    @property
    def _corrected(self) -> float | None:
        return self.p_holm if self.family > 1 else None


def corrected(contrasts: Sequence[Contrast], *, primary: bool = False) -> list[Contrast]:
    """The same contrasts as one family of Holm's correction.

    What chose the same ranks with the same metrics cannot differ, and is not counted.
    """
    tested = [c.difference.p_test for c in contrasts if not c.same]
    raised = iter(holm(tested))
    return [
        replace(c, p_holm=1.0 if c.same else next(raised), family=len(tested), primary=primary)
        for c in contrasts
    ]


def contrasts(table: Runs, question: Question, level: float = 0.95) -> list[Contrast]:
    """Return the contrasts that a question asks for (`StudyTable.compare`)."""
    key, baseline = question.key, question.baseline
    values = table.values(key)
    for value in (baseline, *(question.values or ())):
        if value not in values:
            allowed = ", ".join(map(value_label, values))
            raise InputError(f"{value_label(value)} is no value of {key}; allowed: {allowed}")
    for other in question.over:
        table.values(other)
    found: list[Contrast] = []
    for metric in _asked_metrics(table, question.metric):
        held = set[tuple[str, ...]]()
        for where, value, sides, missing in _pairs(table, question):
            runs = tuple(_text([[row["id"] for row in rows] for rows in side]) for side in sides)
            if runs[0] == runs[1] or runs in held:
                continue
            held.add(runs)
            found.append(
                Contrast(
                    key,
                    value,
                    baseline,
                    where,
                    metric,
                    paired_difference(_means(sides[0], metric), _means(sides[1], metric), level),
                    missing=missing,
                    runs=frozenset(r["id"] for side in sides for rows in side for r in rows),
                    cost=_both(sides, "cost"),
                    parameters=_both(sides, "parameters"),
                    same=_equal(sides),
                )
            )
    return corrected(found)


def _asked_metrics(table: Runs, metric: str | None) -> list[str]:
    if metric is None:
        return table.metrics[:1]
    if metric == EVERY:
        return table.metrics
    each = [row["metrics"].keys() for row in table.finished]
    shared = sorted(set.intersection(*map(set, each)))
    if metric not in shared:
        raise InputError(unknown("metric", metric, [EVERY, *shared]))
    return [metric]


def _pairs(table: Runs, question: Question) -> list[tuple[Row, Any, Sides, tuple[int, ...]]]:
    """Return (where, value, rows of each seed on either side, seeds left out)."""
    key, baseline = question.key, question.baseline
    others = [k for k in table.keys if k != key and k not in question.over]
    cells: dict[str, dict[str, dict[int, list[Row]]]] = defaultdict(lambda: defaultdict(dict))
    places: dict[str, Row] = {}
    for row in table.rows:
        where = {k: value_of(row, k) for k in others}
        places[_text(where)] = where
        cell = cells[_text(where)][_text(value_of(row, key))]
        cell.setdefault(row["seed"], []).append(row)
    pairs = []
    for place, where in places.items():
        against = cells[place][_text(baseline)]
        for value in question.values or table.values(key):
            cell = cells[place][_text(value)]
            whole = [
                seed
                for seed in cell
                if all(r["status"] == "finished" for r in cell[seed] + against.get(seed, []))
            ]
            if value != baseline and whole:
                sides = [cell[seed] for seed in whole], [against[seed] for seed in whole]
                missing = tuple(seed for seed in cell if seed not in whole)
                pairs.append((where, value, sides, missing))
    return pairs


def _equal(sides: Sides) -> bool:
    """Both sides chose the same ranks and came to the same metrics, in every replicate."""
    a, b = ([[(row["pattern"], row["metrics"]) for row in rows] for rows in side] for side in sides)
    return a == b


def _text(value: object) -> str:
    return json.dumps(value, sort_keys=True)


def _means(side: Sequence[Sequence[Row]], metric: str) -> list[float]:
    """Return one value a seed."""
    return [statistics.fmean(row["metrics"][metric] for row in rows) for rows in side]


def _both(sides: Sides, what: str) -> tuple[float, float]:
    """Return the mean over the runs of either side."""
    a, b = (statistics.fmean(row[what] for rows in side for row in rows) for side in sides)
    return a, b


def _name(key: str, value: Any) -> str:
    """A value as the subject of a sentence: a number or the like says nothing without its key."""
    label = value_label(value)
    return f"{key} {label}" if value is None or isinstance(value, int | float) else label
