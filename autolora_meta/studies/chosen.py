"""A run of a study from its ranks to its folder: the same for one and for several."""

import json
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from autolora_meta.allocators.allocation import Allocation, Scoring, allocation
from autolora_meta.allocators.budget_choice import BudgetChoice
from autolora_meta.allocators.replicate import Replicate, allocator
from autolora_meta.config.run import RunConfig
from autolora_meta.config.tune import with_point
from autolora_meta.finetuning.prepare import Prepared
from autolora_meta.finetuning.retrain import RetrainResult
from autolora_meta.finetuning.stacked_retrain import Trained
from autolora_meta.finetuning.start import Start
from autolora_meta.finetuning.tasks.blind import blind_answer
from autolora_meta.foundation import manifest
from autolora_meta.foundation.cost import plain_steps
from autolora_meta.foundation.places import becomes
from autolora_meta.pipeline.memory import naming_what_to_lower
from autolora_meta.pipeline.result import START
from autolora_meta.pipeline.retrain import retrain
from autolora_meta.pipeline.tune import Tuned, tune, tune_work
from autolora_meta.ranks.pattern import RankPattern
from autolora_meta.studies.budgets import decided
from autolora_meta.studies.pool import progress_of, whole_progress
from autolora_meta.studies.saved import checkpoints_of

TIMES = ("seconds", "allocation_seconds", "peak_memory")  # of a job: they differ from run to run


@dataclass(frozen=True)
class Asked:
    """One run: the ranks of one arm in one replicate, retrained and tested.

    Args:
        config: of the run.
        seed: of the replicate.
        arm: the allocator.
        place: the folder of the run; what a killed one left there is removed.
        searches: folders of `search_once`. The run works on a copy, because it writes the ranks of
            its own budget beside it.
        measured: file of `measure_once`, where the arm has one.
        choice: file of `choose_once`, where the budget is auto.
    """

    config: RunConfig
    seed: int
    arm: str
    place: Path
    searches: Iterable[Path]
    measured: Path | None = None
    choice: Path | None = None


@dataclass(frozen=True)
class Chosen:
    """A run whose ranks are chosen.

    Args:
        asked: the run.
        own: its configuration, with the retraining that the arm gets, and what was picked for it.
        replicate: its seed.
        found: its ranks, and what they cost.
        tuned: what was picked for these ranks, and what that cost.
        begun: its folder, which goes to its place when it is whole.
        choice: of its budget; None: it was given.
    """

    asked: Asked
    own: RunConfig
    replicate: Replicate
    found: Allocation
    tuned: Tuned
    begun: Path
    choice: BudgetChoice | None = None

    @property
    def pattern(self) -> RankPattern:
        """Its ranks."""
        return self.found.pattern

    @property
    def start(self) -> Start | None:
        """What its retraining goes on from; None: from scratch."""
        if self.found.start is not None:
            return self.found.start
        if self.own.retrain.start != "search":
            return None
        return self.replicate.search(allocator(self.asked.arm).reads(self.own)[0]).start

    def alone(self) -> RetrainResult:
        """Retrain by stock tools, from the last checkpoint if there is one."""
        return retrain(
            self.own,
            self.pattern,
            seed=self.asked.seed,
            prepared=self.replicate.prepared,
            start=self.start,
            progress=whole_progress(),
            checkpoints=checkpoints_of(self.asked.place),
        )

    def leave(self, result: RetrainResult | Trained) -> dict[str, Any]:
        """Write what the retraining gave, and return what the ledger keeps of it."""
        told, seed, arm = self._told(result), self.asked.seed, self.asked.arm
        lines = (json.dumps({"stage": "retrain"} | row) + "\n" for row in result.log)
        content: Mapping[str, Any] = told | {"arm": arm, "seed": seed}
        texts = {
            "ranks.json": self.pattern.to_json() + "\n",
            "result.json": json.dumps(content, indent=2) + "\n",
            "retrain.jsonl": "".join(lines),
        }
        folder = self.begun / str(seed) / arm
        folder.mkdir(parents=True, exist_ok=True)
        manifest.write_sealed(folder, texts)
        # With this seed: `autolora-meta retrain` on the folder then takes the same split.
        own = self.own.model_copy(update={"seed": seed})
        manifest.write_sealed(self.begun, {"config.yaml": own.to_yaml()})
        return told

    def _told(self, result: RetrainResult | Trained) -> dict[str, Any]:
        """Return what the ledger keeps of a run; equal runs give equal content."""
        task, rows = self.replicate.prepared.task, self.replicate.prepared.rows
        selections = allocator(self.asked.arm).reads(self.own)
        spent = plain_steps(self.found.spent.cost) + plain_steps(self.tuned.cost)
        searches = [self.replicate.search(selection) for selection in selections]
        cost = self.own.retrain.steps + spent + sum(plain_steps(one.cost) for one in searches)
        if (
            self.choice and self.asked.arm == self.own.ranks.arm
        ):  # the others get the budget for nothing
            cost += plain_steps(self.choice.spent.cost)
        return {
            "metrics": result.metrics,
            "compared": task.compared,
            "blind_answer": blind_answer(result.metrics, task.blind_loss(rows["test"])),
            "parameters": self.pattern.parameters,
            "ranks": dict(self.pattern),
            "start": self.own.retrain.start,
            "cost": cost,
            "blind": any(each.blind for found in searches for each in found.searches),
            "stack": result.stack if isinstance(result, Trained) else 1,
            **({"tuned": self.tuned.picked} if self.tuned.picked else {}),
        }


@contextmanager
def choosing(asked: Asked, prepared: Prepared | None = None) -> Iterator[Chosen]:
    """Choose the ranks of a run, then its rate; its folder goes to its place when the body ends.

    Args:
        asked: the run.
        prepared: model and rows of its seed, if already loaded.
    """
    choice = BudgetChoice.load(asked.choice) if asked.choice else None
    config, seed, arm = decided(asked.config, choice), asked.seed, allocator(asked.arm)
    shutil.rmtree(asked.place, ignore_errors=True)
    ignore = shutil.ignore_patterns(*([START] if config.retrain.start == "scratch" else []))
    known = Scoring.load(asked.measured) if asked.measured else None
    with becomes(asked.place) as begun:
        begun.mkdir()
        for search in asked.searches:
            shutil.copytree(search, begun, dirs_exist_ok=True, ignore=ignore)
        share = progress_of(0.0 if known else arm.work(config))
        replicate = Replicate(config, seed, folder=begun, progress=share, prepared=prepared)
        with naming_what_to_lower(config, "search"):
            found = allocation(arm, replicate, known)
        share.close()
        own = effective(config, asked.arm, plain_steps(found.spent.cost))
        share = progress_of(tune_work(own, own.retrain.steps))
        tuned = tune(own, replicate.prepared, seed, found.pattern, share)
        share.close()
        picked = with_point(own.retrain, tuned.picked)
        own = own.model_copy(update={"retrain": picked})
        yield Chosen(asked, own, replicate, found, tuned, begun, choice)


def took(*times: float | None) -> dict[str, Any]:
    """Return what a job took, by the names of `TIMES`."""
    return dict(zip(TIMES, times, strict=True))


def effective(config: RunConfig, arm: str, spent: float = 0.0) -> RunConfig:
    """Return the configuration with the retraining that the arm gets: how long, from what start.

    Args:
        config: of the run.
        arm: the allocator.
        spent: plain steps that the arm took for its ranks, searches aside.
    """
    chosen = allocator(arm)
    changes: dict[str, Any] = {"steps": chosen.retrain_steps(config, spent)}
    if chosen.begins is not None:
        changes["start"] = "search"
    elif not chosen.searches:  # there is nothing to go on from
        changes["start"] = "scratch"
    section = config.retrain.model_copy(update=changes)
    return config.model_copy(update={"retrain": section})
