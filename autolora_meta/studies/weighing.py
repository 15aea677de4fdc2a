"""Weighing: learned weights of training rows beside what else helps against wrong labels."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import torch
from datasets import DatasetDict
from torch import Tensor
from typing_extensions import TypedDict

from autolora_meta.allocators.allocation import allocation
from autolora_meta.allocators.replicate import Replicate, allocator
from autolora_meta.bilevel.formulation import formulation
from autolora_meta.config.fingerprint import fingerprint
from autolora_meta.config.run import RunConfig
from autolora_meta.errors import InputError, unknown
from autolora_meta.finetuning.label_smoothing import LabelSmoothing
from autolora_meta.finetuning.prepare import Prepared
from autolora_meta.finetuning.retrain import RetrainResult
from autolora_meta.finetuning.tasks.metrics import Metric
from autolora_meta.foundation.cost import plain_steps
from autolora_meta.foundation.json_files import Figure, Size, read_json
from autolora_meta.foundation.places import replace_text
from autolora_meta.foundation.progress import Progress, Row, Say
from autolora_meta.foundation.randomness import derive
from autolora_meta.pipeline.prepare import prepare, refuse_unusable
from autolora_meta.pipeline.retrain import retrain
from autolora_meta.pipeline.row_scores import clean_rows_alone, scores_by_clean_rows
from autolora_meta.pipeline.row_weights import LearnedWeights, auc_of_wrong_labels, learn_weights
from autolora_meta.ranks.pattern import RankPattern

Keep = Callable[[RetrainResult, RankPattern, Prepared, Path], None]
SMOOTHING = 0.3
SHARES = (0.25, 0.5, 1.0)  # of the steps, among which early stopping chooses
WEIGHTED, SCORED, SHUFFLED = "weighted", "scored", "shuffled"
# What each arm trains on; every one has uniform ranks, and eva's has EVA's.
ARMS = {
    WEIGHTED: "all rows, training rows by their learned weights",
    "uniform": "all rows, which weigh the same",
    "clean": "validation rows alone",
    "early": f"all rows, for the best of {SHARES} of the steps on validation rows",
    "smoothed": f"all rows, with labels smoothed by {SMOOTHING}",
    "eva": "all rows, at EVA's ranks",
    SCORED: "all rows, training rows by the weights that the search started from",
    SHUFFLED: "all rows, the learned weights dealt to other training rows",
}


class Weighed(TypedDict):
    """What came of one replicate, as its file holds it."""

    seed: int
    fingerprint: str
    plain_steps: Size
    auc: Figure | None
    auc_of_start: Figure | None
    metrics: dict[str, dict[str, Figure]]


def weigh(
    config: RunConfig,
    folder: Path,
    *,
    arms: Sequence[str] = tuple(ARMS),
    progress: Callable[[], Progress | None] = lambda: None,
    observe: Callable[[Row], None] = lambda row: None,
    keep: Keep | None = None,
    say: Say = lambda words: None,
) -> list[Weighed]:
    """Learn weights in every replicate, retrain by them and by every control, and measure.

    A replicate whose files stand in the folder is not run again.

    Args:
        config: of the run; `search.problem` is one that learns weights of rows.
        folder: of the run, which is there; gets weights/SEED.json and replicates/SEED.json.
        arms: names in `ARMS`, `weighted` among them (`arms_named`).
        progress: makes what is told after each step of a search or a retraining.
        observe: given one row of figures after each outer step, with the seed.
        keep: is given the weighted retraining of the first replicate, its ranks, model and rows,
            and the folder `adapter` in `folder`, which is not there.
        say: told when a replicate is done.

    Returns:
        One record a replicate, in the order of the seeds.

    Raises:
        InputError: a file in the folder is of another configuration, or the work cannot be done.
    """
    found = list[Weighed]()
    for seed in range(config.seed, config.seed + config.compare.replicates):
        known, file = _fingerprint(config, seed, arms), folder / "replicates" / f"{seed}.json"
        if file.is_file():
            held: Weighed = read_json(file, Weighed)
            if held["fingerprint"] != known:
                raise InputError(
                    f"{file} is of another configuration than this one; give another name "
                    "(name=...), or --overwrite"
                )
            found.append(held)
            continue
        one = _Weighing(config, seed, progress, lambda row, s=seed: observe({"seed": s, **row}))
        learned = one.learned(folder / "weights" / f"{seed}.json")
        metrics, adapter = dict[str, dict[str, float]](), folder / "adapter"
        for arm in arms:
            result = one.measured(arm, learned)
            metrics[arm] = dict(result.metrics)
            if keep and (arm, seed) == (WEIGHTED, config.seed) and not adapter.exists():
                keep(result, one.pattern("uniform"), one.prepared, adapter)
        record: Weighed = {
            "seed": seed,
            "fingerprint": known,
            "plain_steps": plain_steps(learned.cost),
            "auc": auc_of_wrong_labels(learned.weights, config, seed),
            "auc_of_start": auc_of_wrong_labels(one.start, config, seed),
            "metrics": metrics,
        }
        file.parent.mkdir(exist_ok=True)
        replace_text(file, json.dumps(record) + "\n")
        say(f"seed {seed} is done: {file}")
        found.append(record)
    return found


def arms_named(controls: Sequence[str] | None) -> tuple[str, ...]:
    """Return the arms of a comparison: `weighted`, and the controls that are named.

    Args:
        controls: names in `ARMS`; None: all of them.

    Raises:
        InputError: there is no such control.
    """
    known = [arm for arm in ARMS if arm != WEIGHTED]
    for name in controls or ():
        if name not in known:
            raise InputError(unknown("control", name, known))
    return WEIGHTED, *(dict.fromkeys(controls) if controls else known)


def check_weighing(config: RunConfig) -> None:
    """Refuse a configuration by which no weights could be learned, before a model is loaded.

    Raises:
        InputError: its problem learns something else, or the rows cannot be cut as asked.
    """
    formulation(config.search.problem).refuse(config.search, "weights of rows")
    if config.ranks.rule != "budget" or config.ranks.to_choose:
        raise InputError(
            "weights of rows are compared at uniform ranks of one budget, and ranks.rule is "
            f"'{config.ranks.rule}' with ranks.budget '{config.ranks.budget}'; give a budget, such "
            "as ranks.budget=uniform:1"
        )
    refuse_unusable(config, config.seed)


def _fingerprint(config: RunConfig, seed: int, arms: Sequence[str]) -> str:
    retrained = json.dumps([config.retrain.model_dump(mode="json"), str(config.ranks.budget)])
    return f"{fingerprint(config, seed, 'learned')} {derive(0, retrained, *arms):x}"


@dataclass
class _Weighing:
    """One replicate.

    Args:
        config: of the run.
        seed: of the replicate.
        progress: makes what is told of one piece of work.
        observe: given the rows of the search.
    """

    config: RunConfig
    seed: int
    progress: Callable[[], Progress | None]
    observe: Callable[[Row], None]
    _patterns: dict[str, RankPattern] = field(default_factory=dict)

    @cached_property
    def prepared(self) -> Prepared:
        return prepare(self.config, self.seed)

    @cached_property
    def start(self) -> Tensor:
        """Where the weights start: how likely an adapter of the clean rows finds each row. (n,)"""
        given = self.config, self.prepared, self.seed, self.pattern("uniform")
        return scores_by_clean_rows(*given, self.progress())

    def learned(self, file: Path) -> LearnedWeights:
        """Return the weights, learned now or before."""
        known = fingerprint(self.config, self.seed, "learned")
        if file.is_file() and (held := LearnedWeights.load(file)).fingerprint == known:
            return held
        learned = learn_weights(
            self.config,
            seed=self.seed,
            prepared=self.prepared,
            start=self.start,
            progress=self.progress(),
            observe=self.observe,
        )
        learned.save(file)
        return learned

    def measured(self, arm: str, learned: LearnedWeights) -> RetrainResult:
        """Return the retraining of an arm, measured on test rows."""
        if arm in (WEIGHTED, SCORED, SHUFFLED):
            scored = replace(learned, weights=self.start)
            given = {WEIGHTED: learned, SCORED: scored}.get(arm) or _shuffled(learned)
            return self._retrained(self.prepared, weights=given.of_all(self.prepared))
        if arm == "clean":
            return self._retrained(clean_rows_alone(self.prepared, "test"))
        if arm == "early":
            return self._retrained(self.prepared, steps=self._best_steps())
        if arm == "smoothed":
            with LabelSmoothing(SMOOTHING):
                return self._retrained(self.prepared)
        return self._retrained(self.prepared, ranks=arm)

    def _best_steps(self) -> int:
        """Return the steps after which training rows alone do best on validation rows."""
        rows, found = self.prepared.rows, dict[int, float]()
        none = rows["train"].select([])
        held = {"train": rows["train"], "validation": none, "test": rows["validation"]}
        part = replace(self.prepared, rows=DatasetDict(held))  # type: ignore[arg-type]
        metric, measure = main_metric(self.config, self.prepared)
        for share in SHARES:
            steps = max(1, round(share * self.config.retrain.steps))
            value = self._retrained(part, steps=steps).metrics[metric]
            found[steps] = value if measure.better == "lower" else -value
        return min(found, key=found.__getitem__)

    def pattern(self, arm: str) -> RankPattern:
        """Return the ranks of an allocator, at the budget of the run."""
        if arm not in self._patterns:
            replicate = Replicate(self.config, self.seed, prepared=self.prepared)
            self._patterns[arm] = allocation(allocator(arm), replicate).pattern
        return self._patterns[arm]

    def _retrained(
        self,
        prepared: Prepared,
        *,
        ranks: str = "uniform",
        steps: int | None = None,
        weights: Tensor | None = None,
    ) -> RetrainResult:
        options = self.config.retrain
        options = options.model_copy(update={"steps": steps or options.steps})
        return retrain(
            self.config.model_copy(update={"retrain": options}),
            self.pattern(ranks),
            seed=self.seed,
            prepared=prepared,
            weights=weights,
            progress=self.progress(),
        )


def main_metric(config: RunConfig, prepared: Prepared) -> tuple[str, Metric]:
    """Return the metric that is compared first, by name."""
    name = config.compare.primary.metric or config.compare.compared(prepared.task.compared)[0]
    return name, prepared.task.measures[name]


def _shuffled(learned: LearnedWeights) -> LearnedWeights:
    draw = torch.Generator().manual_seed(derive(learned.seed, "shuffled weights"))
    order = torch.randperm(len(learned.weights), generator=draw)
    return replace(learned, weights=learned.weights[order])
