"""StudyTable: what the runs of a study gave, a row for each, and what may be concluded from it."""

import json
import statistics
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from autolora_meta.errors import InputError, unknown
from autolora_meta.finetuning.tasks import metric_called
from autolora_meta.statistics import (
    PairedDifference,
    corrected_sentence,
    holm,
    paired_difference,
    sentence,
)
from autolora_meta.studies.options import ARM, SEED, StudyOptions
from autolora_meta.studies.plan import Planned, value_label, words

if TYPE_CHECKING:
    import pandas

Row = dict[str, Any]


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
        p_holm: `difference.p_test` after Holm's correction over the family.
        family: comparisons that the correction counts: all of one call of `compare`.
        missing: seeds that are left out because a run of theirs has not finished.
        cost: mean plain steps of value and of baseline.
        parameters: mean adapter parameters of value and of baseline.
        sentence: what may be said.
    """

    key: str
    value: Any
    baseline: Any
    where: Mapping[str, Any]
    metric: str
    difference: PairedDifference
    p_holm: float
    family: int
    missing: tuple[int, ...]
    cost: tuple[float, float]
    parameters: tuple[float, float]
    sentence: str

    @property
    def holds(self) -> bool:
        """The difference may be claimed, among all that were compared with it."""
        return self.difference.conclusive and self.p_holm <= 1 - self.difference.level


@dataclass(frozen=True)
class StudyTable:
    """A row for each run of a study, in the order of its grid.

    Args:
        name: of the study.
        keys: what tells the runs of one seed apart; `arm` is the last.
        rows: one a run: `settings` (key -> value, without the arm), `arm`, `seed`, `id`, `status`
            (finished, failed, missing); of a failed one `error`; of a finished one `metrics`,
            `compared` (metrics of interest, the main one first), `parameters`, `ranks` and `cost`,
            plain steps of its searches and retraining.
    """

    name: str
    keys: tuple[str, ...]
    rows: tuple[Row, ...]

    @classmethod
    def of(
        cls, options: StudyOptions, planned: Sequence[Planned], ended: Mapping[str, Row]
    ) -> "StudyTable":
        """The table of a plan and of what has ended: id -> its line in the ledger."""
        rows = [
            {"settings": dict(run.settings), "arm": run.arm, "seed": run.seed, "id": run.id}
            | ended.get(run.id, {"status": "missing"})
            for run in planned
        ]
        # As JSON has them, so that a table that is loaded equals the one that was saved.
        return cls(options.name, options.keys, tuple(json.loads(json.dumps(rows))))

    @property
    def finished(self) -> list[Row]:
        """The rows of finished runs.

        Raises:
            InputError: there is none.
        """
        rows = [row for row in self.rows if row["status"] == "finished"]
        if not rows:
            failed = next((row["error"] for row in self.rows if row["status"] == "failed"), None)
            reason = f"the first that failed says: {failed}" if failed else "run the study first"
            raise InputError(f"no run of study {self.name} has finished; {reason}")
        return rows

    @property
    def failed(self) -> list[Row]:
        """The rows of runs that failed, with `error`."""
        return [row for row in self.rows if row["status"] == "failed"]

    @property
    def metrics(self) -> list[str]:
        """Metrics of interest, the main one of the task first."""
        return list(dict.fromkeys(m for row in self.finished for m in row["compared"]))

    def values(self, key: str) -> list[Any]:
        """The values of a key, in the order of the grid.

        Raises:
            InputError: the study has no such key.
        """
        if key not in self.keys:
            raise InputError(unknown("key", key, self.keys))
        found: list[Any] = []
        for row in self.rows:
            if (value := _value(row, key)) not in found:
                found.append(value)
        return found

    def to_pandas(self) -> "pandas.DataFrame":
        """One row a run: its keys, seed, status, parameters, cost and every metric.

        A value that is a list or a mapping is written as in the sentences.
        """
        import pandas

        plain = (str, int, float, type(None))
        records = []
        for row in self.rows:
            values = {key: _value(row, key) for key in self.keys}
            record = {k: v if isinstance(v, plain) else value_label(v) for k, v in values.items()}
            record |= {k: row.get(k) for k in (SEED, "status", "parameters", "cost", "error")}
            records.append(record | row.get("metrics", {}))
        return pandas.DataFrame(records)

    def compare(
        self,
        key: str = ARM,
        *,
        baseline: Any,
        metric: str | None = None,
        over: Sequence[str] = (),
        level: float = 0.95,
    ) -> list[Contrast]:
        """Every other value of a key against the baseline, all else equal, paired over seeds.

        All that one call compares is one family of Holm's correction. A seed counts where both
        runs have finished; what no seed has on both sides is left out, and so are runs held against
        themselves, or against the same others again, where a setting does not reach an arm.

        >>> for contrast in table.compare("arm", baseline="uniform"):  # doctest: +SKIP
        ...     print(contrast.sentence)

        Args:
            key: `arm`, `variant` or a key of `vary`.
            baseline: the value of it that differences are taken from.
            metric: None: the main one of the task.
            over: keys whose values are averaged within each seed, such as the one that names the
                data. A seed stays one replicate.
            level: of the intervals.

        Raises:
            InputError: there is no such key, value or metric, or no run has finished.
        """
        values = self.values(key)
        if baseline not in values:
            shown = ", ".join(map(value_label, values))
            raise InputError(f"{value_label(baseline)} is no value of {key}; allowed: {shown}")
        for other in over:
            self.values(other)
        metric = metric or self.metrics[0]
        measured = sorted({name for row in self.finished for name in row["metrics"]})
        if metric not in measured:
            raise InputError(unknown("metric", metric, measured))
        found, told = [], set[tuple[str, ...]]()
        for where, value, sides, missing in self._pairs(key, baseline, over):
            runs = tuple(_text([[row["id"] for row in rows] for rows in side]) for side in sides)
            if runs[0] == runs[1] or runs in told:
                continue
            told.add(runs)
            a, b = ([_mean(rows, metric) for rows in side] for side in sides)
            found.append((where, value, sides, missing, paired_difference(a, b, level)))
        corrected = holm([d.p_test for *_, d in found])
        contrasts = []
        for (where, value, sides, missing, d), p_holm in zip(found, corrected, strict=True):
            cost, parameters = _means(sides, "cost"), _means(sides, "parameters")
            facts = (key, value, baseline, where, metric, d, p_holm, len(found), missing)
            said = _said(*facts, parameters)
            contrasts.append(Contrast(*facts, cost, parameters, said))
        return contrasts

    def _pairs(
        self, key: str, baseline: Any, over: Sequence[str]
    ) -> list[tuple[Row, Any, tuple[list[list[Row]], list[list[Row]]], tuple[int, ...]]]:
        """(where, value, rows of each seed on either side, seeds left out)."""
        others = [k for k in self.keys if k != key and k not in over]
        cells: dict[str, dict[str, dict[int, list[Row]]]] = defaultdict(lambda: defaultdict(dict))
        places: dict[str, Row] = {}
        for row in self.rows:
            where = {k: _value(row, k) for k in others}
            places[_text(where)] = where
            cell = cells[_text(where)][_text(_value(row, key))]
            cell.setdefault(row["seed"], []).append(row)
        pairs = []
        for place, where in places.items():
            against = cells[place][_text(baseline)]
            for value in self.values(key):
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

    def save(self, path: str | Path) -> None:
        """Write the table as JSON; equal studies give equal bytes but for seconds and memory."""
        Path(path).write_text(json.dumps(asdict(self), indent=1) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, path: str | Path) -> "StudyTable":
        """Read `table.json`, or that of a study's folder.

        Raises:
            InputError: there is no such file, or it is no table of a study.
        """
        path = Path(path)
        path = path / "table.json" if path.is_dir() else path
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            return cls(content["name"], tuple(content["keys"]), tuple(content["rows"]))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise InputError(f"{path} is no table of a study of this tool: {error}") from None


def _value(row: Mapping[str, Any], key: str) -> Any:
    return row["arm"] if key == ARM else row["settings"][key]


def _text(value: object) -> str:
    return json.dumps(value, sort_keys=True)


def _mean(rows: Sequence[Row], metric: str) -> float:
    return statistics.fmean(row["metrics"][metric] for row in rows)


def _means(sides: tuple[list[list[Row]], list[list[Row]]], what: str) -> tuple[float, float]:
    a, b = (statistics.fmean(row[what] for rows in side for row in rows) for side in sides)
    return a, b


def _said(
    key: str,
    value: Any,
    baseline: Any,
    where: Mapping[str, Any],
    name: str,
    difference: PairedDifference,
    p_holm: float,
    family: int,
    missing: Sequence[int],
    parameters: Sequence[float],
) -> str:
    """The sentence of a contrast, with what else a reader must know."""
    metric = metric_called(name)
    names = value_label(value), value_label(baseline), metric.label
    scaled = difference.scaled(metric.factor)
    said = sentence(scaled, *names, better=metric.better, unit=metric.unit)
    said = corrected_sentence(said, difference, p_holm, family)
    mine, theirs = parameters
    if abs(mine - theirs) > 0.01 * theirs:
        said += f"; {mine:,.0f} parameters against {theirs:,.0f}"
    if missing:
        said += f"; left out, not finished: seed {', '.join(map(str, missing))}"
    settings = [words({k: v for k, v in where.items() if k != ARM}), where.get(ARM)]
    place = ", ".join(filter(None, settings))
    return f"{place}: {said}" if place else said
