"""Headroom of a run: random patterns and uniform ranks of its table, and what they show."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from autolora_meta.config.run import RunConfig
from autolora_meta.finetuning.tasks import metric_called
from autolora_meta.finetuning.tasks.metrics import Metric
from autolora_meta.foundation import manifest
from autolora_meta.foundation.progress import Row
from autolora_meta.ranks.pattern import RankPattern
from autolora_meta.ranks.place import Place
from autolora_meta.statistics.headroom import Headroom, headroom
from autolora_meta.statistics.headroom_claims import (
    explained_words,
    seen_words,
    spread_words,
    verdict,
)
from autolora_meta.studies.patterns import UNIFORM, measured_together, patterns_of
from autolora_meta.studies.study import Study
from autolora_meta.studies.table import StudyTable

FILE = "headroom.json"
_FEWEST = 2  # patterns and replicates


@dataclass(frozen=True)
class Measured:
    """The headroom of a run, in the unit of a difference of its main metric.

    Args:
        metric: its name.
        arms: the patterns that have finished.
        seeds: in which all of them and uniform ranks have.
        losses: of the patterns, the metric or its negative, so that lower is better. (n, R)
        uniform: the same of uniform ranks. (R,)
        found: what they show.
        left_out: patterns that have failed or whose metric is not finite.
        alone: the run compares nothing else.
    """

    metric: str
    arms: tuple[str, ...]
    seeds: tuple[int, ...]
    losses: np.ndarray
    uniform: np.ndarray
    found: Headroom
    left_out: tuple[str, ...] = ()
    alone: bool = False

    @property
    def called(self) -> Metric:
        """Direction, unit and label of the metric."""
        return metric_called(self.metric)

    @property
    def verdict(self) -> str:
        """Whether ranks matter, in one sentence."""
        return verdict(self.found, self.called.label, self.called.unit)

    @property
    def sentences(self) -> list[str]:
        """What stands behind the verdict."""
        left = ", ".join(self.left_out)
        return [
            *[seen_words(self.found)] * (self.found.gain is not None),
            spread_words(self.found),
            explained_words(self.found),
            *[f"Left out, failed or not finite: {left}"] * bool(left),
        ]

    def save(self, folder: Path) -> None:
        """Write it as JSON into the folder of the run."""
        told = {
            "verdict": self.verdict,
            "metric": self.metric,
            "unit": self.called.unit,
            "lower_is_better": True,
            "seeds": self.seeds,
            "uniform": self.uniform.tolist(),
            "patterns": dict(zip(self.arms, self.losses.tolist(), strict=True)),
            "left_out": self.left_out,
            "found": asdict(self.found),
        }
        manifest.write_sealed(folder, {FILE: json.dumps(told, indent=1) + "\n"})


def headroom_study(config: RunConfig, patterns: int, folder: str | Path | None = None) -> Study:
    """Return the study that measures the headroom of a run and searches nothing.

    >>> table = headroom_study(RunConfig.load("quickstart"), 20).run()  # doctest: +SKIP
    >>> measured(table, Path("runs/quickstart-headroom")).verdict       # doctest: +SKIP

    Args:
        config: of the run; its replicates count, its arms do not.
        patterns: how many random ones, at least 4.
        folder: of the study; by default `runs/NAME-headroom`.

    Raises:
        InputError: there are too few patterns, or each replicate has a budget of its own.
    """
    config = RunConfig.load(
        config.model_dump(mode="json"),
        {"name": f"{config.name}-headroom", "compare": {"headroom": patterns}},
    )
    return Study(
        config,
        arms=patterns_of(patterns),
        seeds=[config.seed + number for number in range(config.compare.replicates)],
        question="Do ranks matter here: is any of many random patterns better than uniform ranks "
        "with the same number of parameters?",
        name=config.name,
        folder=folder,
    )


def measured(table: StudyTable, folder: Path) -> Measured | None:
    """Return the headroom that a run has measured; None where it has not, or not finished enough.

    Args:
        table: of the run.
        folder: of the run, where the ranks of each pattern stand.
    """
    patterns = measured_together(table)
    if not patterns:
        return None
    metric = table.metrics[0]
    called = metric_called(metric)
    sign = called.factor * (-1 if called.better == "higher" else 1)
    rows = {(row["arm"], row["seed"]): row for row in table.finished}
    values = {place: sign * row["metrics"][metric] for place, row in rows.items()}
    seeds = [seed for arm, seed in values if arm == UNIFORM and np.isfinite(values[arm, seed])]
    whole = [a for a in patterns if all(np.isfinite(values.get((a, s), np.nan)) for s in seeds)]
    if min(len(whole), len(seeds)) < _FEWEST:
        return None
    losses = np.array([[values[arm, seed] for seed in seeds] for arm in whole])
    uniform = np.array([values[UNIFORM, seed] for seed in seeds])
    ranks = [_ranks(folder, rows[arm, seeds[0]]) for arm in whole]
    return Measured(
        metric,
        tuple(whole),
        tuple(seeds),
        losses,
        uniform,
        headroom(losses, uniform, shares(ranks)),
        tuple(arm for arm in patterns if arm not in whole),
        alone=not table.asked,
    )


def shares(patterns: list[RankPattern]) -> dict[str, np.ndarray]:
    """Return name of a kind of module or of a layer -> share of the parameters in each pattern.

    Args:
        patterns: of the same layers. (n)
    """
    names = patterns[0].names
    spent = np.array([np.multiply(one.ranks, one.costs) for one in patterns], dtype=float)
    spent /= spent.sum(axis=1, keepdims=True)  # (n, L)
    of_kind = [Place.of(name).kind for name in names]
    # A kind with one layer, such as a pooler's, goes by the name of that.
    kinds = [kind if of_kind.count(kind) > 1 else names[i] for i, kind in enumerate(of_kind)]
    found = {kind: spent[:, [one == kind for one in kinds]].sum(axis=1) for kind in kinds}
    return found | {name: spent[:, i] for i, name in enumerate(names) if name not in found}


def _ranks(folder: Path, row: Row) -> RankPattern:
    place = folder / "runs" / row["id"] / str(row["seed"]) / row["arm"]
    manifest.refuse_damaged(place, manifest.AS_IT_IS, "ranks.json")
    return RankPattern.load(place / "ranks.json")
