"""Comparison: what arms reached over replicates, and what may be said of it."""

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from autolora_meta.errors import InputError
from autolora_meta.finetuning.tasks import metric_called
from autolora_meta.statistics.claims import same_sentence, sentence, shown
from autolora_meta.statistics.paired import PairedDifference, holm
from autolora_meta.statistics.stability import Stability


@dataclass(frozen=True)
class Comparison:
    """Arms over replicates: every value, and every paired difference to the baseline.

    The first of `differences` is the primary one, named before the run. All others, of all metrics,
    are secondary.

    Args:
        rows: one a value: arm, seed, metric, value, parameters.
        differences: one a pair, metric after metric, the primary pair and metric first: arm,
            baseline, metric, the fields of PairedDifference, and `same`: equal ranks with equal
            metrics in every replicate.
        costs: arm -> what finding and retraining its ranks took in plain steps, the mean over
            replicates.
        searches: figures of the searches with learned gates (`_figures`).
        baseline: the arm that differences are taken from.
        metrics: names of the metrics, the main one first.
        started: the arms that went on from what their search trained (`retrain.start`).
        blind: the arms whose answers ignore their input (`blind_arms`).
    """

    rows: list[dict[str, Any]]
    differences: list[dict[str, Any]]
    costs: dict[str, float]
    searches: dict[str, Any]
    baseline: str
    metrics: list[str]
    started: list[str] = field(default_factory=list)
    blind: dict[str, dict[str, Any]] = field(default_factory=dict)

    @property
    def arms(self) -> list[str]:
        """The arms, in the order of the configuration."""
        return list(dict.fromkeys(row["arm"] for row in self.rows))

    @property
    def seeds(self) -> list[int]:
        """The seed of each replicate."""
        return list(dict.fromkeys(row["seed"] for row in self.rows))

    def values(self, arm: str, metric: str) -> list[float]:
        """One value a replicate."""
        return [r["value"] for r in self.rows if r["arm"] == arm and r["metric"] == metric]

    def against_baseline(self, metric: str) -> dict[str, PairedDifference]:
        """Arm -> its paired difference to the baseline."""
        return {
            row["arm"]: _difference(row)
            for row in self.differences
            if row["metric"] == metric and row["baseline"] == self.baseline
        }

    @property
    def stability(self) -> Stability:
        """How far the learned ranks of the replicates agree."""
        return Stability.read(self.searches["stability"])

    def sentences(self) -> list[str]:
        """What can and what cannot be concluded, a sentence for each of `differences`."""
        said = []
        for row, (d, p_corrected) in zip(self.differences, self._judged(), strict=True):
            if row.get("same"):
                said.append(same_sentence(row["arm"], row["baseline"]))
                continue
            metric = metric_called(row["metric"])
            names = row["arm"], row["baseline"], metric.label
            scaled = d.scaled(metric.factor)
            said.append(sentence(scaled, *names, metric.better, metric.unit, p_corrected))
        return said

    def shown(self) -> list[bool]:
        """Whether each of `differences` may be claimed."""
        return [shown(d, p_corrected) for d, p_corrected in self._judged()]

    def holding(self, metric: str) -> set[str]:
        """The arms whose difference to the baseline is shown."""
        return {
            row["arm"]
            for row, holds in zip(self.differences, self.shown(), strict=True)
            if holds and (row["metric"], row["baseline"]) == (metric, self.baseline)
        }

    def corrected(self) -> list[tuple[PairedDifference, float]]:
        """Each of `differences`, and its p-value after the correction.

        The primary one needs none. The secondary ones of all metrics are one family of Holm's
        correction, but those of the same ranks with the same metrics, which cannot differ.
        """
        return [(d, d.p_test if p is None else p) for d, p in self._judged()]

    @property
    def family(self) -> int:
        """How many secondary comparisons the correction counts."""
        return len(self._family())

    def _judged(self) -> list[tuple[PairedDifference, float | None]]:
        """Each of `differences`, and its corrected p-value; None: it needs no correction."""
        found = [_difference(row) for row in self.differences]
        judged: list[float | None] = [1.0 if row.get("same") else None for row in self.differences]
        family = self._family()
        if len(family) > 1:
            for i, p in zip(family, holm([found[i].p_test for i in family]), strict=True):
                judged[i] = p
        return list(zip(found, judged, strict=True))

    def _family(self) -> list[int]:
        rows = enumerate(self.differences)
        return [i for i, row in rows if i > 0 and not row.get("same")]

    def save(self, path: str | Path) -> None:
        """Write comparison.json; it holds no times, so that equal runs give equal bytes."""
        Path(path).write_text(json.dumps(asdict(self), indent=2) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, path: str | Path) -> "Comparison":
        """Read what `save` wrote.

        Raises:
            InputError: there is no such file, or it is no comparison.
        """
        try:
            return cls(**json.loads(Path(path).read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError) as error:
            raise InputError(f"{path} is not a comparison of this tool: {error}") from None


# JSON has no infinity and no nan: what one replicate leaves open is written as null.
_OPEN = {"low": -math.inf, "high": math.inf, "sd": math.nan}


def written(difference: PairedDifference) -> dict[str, Any]:
    """The fields of a difference, as JSON has them."""
    values = asdict(difference)
    return values | {key: None for key in _OPEN if not math.isfinite(values[key])}


def _difference(row: Mapping[str, Any]) -> PairedDifference:
    values: dict[str, Any] = {f.name: row[f.name] for f in fields(PairedDifference)}
    values |= {key: value for key, value in _OPEN.items() if values[key] is None}
    return PairedDifference(**values)
