"""The independent jobs of a comparison, and their order: searches first, then what reads them."""

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, get_args

from autolora_meta.allocators.allocation import Scoring, allocation, scoring
from autolora_meta.allocators.replicate import Replicate, allocator
from autolora_meta.bilevel.options import Selection
from autolora_meta.config.run import RunConfig
from autolora_meta.errors import InputError
from autolora_meta.finetuning.prepare import Prepared
from autolora_meta.finetuning.retrain import RetrainResult
from autolora_meta.finetuning.tasks.blind import blind_answer
from autolora_meta.foundation.cost import plain_steps
from autolora_meta.foundation.memory import peak
from autolora_meta.foundation.progress import Progress
from autolora_meta.pipeline.retrain import retrain
from autolora_meta.ranks.pattern import RankPattern
from autolora_meta.studies.executor import Job, run_jobs
from autolora_meta.studies.pool import local_pool, progress_of, whole_progress

Keep = Callable[[RetrainResult, RankPattern, Prepared], None]
Name = tuple[str, int, str]  # ("search", seed, selection) or ("retrain", seed, arm)


@dataclass(frozen=True)
class Outcome:
    """What a job leaves, beside its files.

    Args:
        job: which one.
        seconds: wall time of all of it.
        content: what result.json holds; equal runs give equal content.
        measured: `allocation_seconds` and `peak_memory` (bytes, or None): of a search; of a
            retraining, those of choosing its ranks, searches aside.
    """

    job: Name
    seconds: float
    content: Mapping[str, Any] = field(default_factory=dict)
    measured: Mapping[str, Any] = field(default_factory=dict)


def run_search(config: RunConfig, seed: int, selection: Selection, folder: Path) -> Outcome:
    """One search of one replicate, kept in `folder/seed/selection`."""
    started = time.perf_counter()
    progress = progress_of(config.search.total_work(selection))
    replicate = Replicate(config, seed, folder=folder, progress=progress)
    _ = replicate.prepared  # loading is no part of searching
    with peak(config.runtime.resolved_device) as rose:
        result = replicate.search(selection)
    progress.close()
    took = _took(result.seconds, rose[0] if rose else None)
    job = "search", seed, selection
    return Outcome(job, time.perf_counter() - started, measured=took)


def _took(seconds: float, peak_memory: int | None) -> dict[str, Any]:
    return {"allocation_seconds": round(seconds, 2), "peak_memory": peak_memory}


def run_measure(config: RunConfig, seed: int, arm: str) -> Scoring:
    """What one arm measures in one replicate, for every budget."""
    chosen = allocator(arm)
    progress = progress_of(chosen.work(config))
    found = scoring(chosen, Replicate(config, seed, progress=progress))
    progress.close()
    return found


def effective(config: RunConfig, arm: str, spent: float = 0.0) -> RunConfig:
    """The configuration with the retraining that the arm gets: how long, and from what start.

    Args:
        spent: plain steps that the arm took for its ranks, searches aside.
    """
    chosen = allocator(arm)
    changes: dict[str, Any] = {"steps": chosen.retrain_steps(config, spent)}
    if not chosen.searches:  # there is nothing to go on from
        changes["start"] = "scratch"
    section = config.retrain.model_copy(update=changes)
    return config.model_copy(update={"retrain": section})


def run_retrain(
    config: RunConfig,
    seed: int,
    arm: str,
    folder: Path,
    keep: Keep | None = None,
    measured: Scoring | None = None,
) -> Outcome:
    """Ranks of one arm in one replicate, retrained and tested; result.json says how it went.

    Args:
        keep: called with the retrained model, to save it.
        measured: what the arm measured before (`run_measure`).
    """
    started = time.perf_counter()
    chosen = allocator(arm)
    share = progress_of(0.0 if measured else chosen.work(config))
    replicate = Replicate(config, seed, folder=folder, progress=share)
    found = allocation(chosen, replicate, measured)
    share.close()
    pattern, prepared = found.pattern, replicate.prepared
    own, trained = effective(config, arm, plain_steps(found.spent.cost)), None
    if own.retrain.start == "search":
        trained = replicate.search(chosen.searches[0]).start
    result = retrain(
        own, pattern, seed=seed, prepared=prepared, start=trained, progress=whole_progress()
    )
    if keep is not None:
        keep(result, pattern, prepared)
    content = {
        "arm": arm,
        "seed": seed,
        "parameters": pattern.parameters,
        "ranks": dict(pattern),
        "retrain_steps": own.retrain.steps,
        "start": own.retrain.start,
        "cost": asdict(found.spent.cost),
        "metrics": result.metrics,
        "compared": prepared.task.compared,
        "blind_answer": blind_answer(
            result.metrics, prepared.task.blind_loss(prepared.rows["test"])
        ),
    }
    place = folder / str(seed) / arm
    place.mkdir(parents=True, exist_ok=True)
    pattern.save(place / "ranks.json")
    (place / "result.json").write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    lines = (json.dumps({"stage": "retrain"} | row) + "\n" for row in result.log)
    (place / "retrain.jsonl").write_text("".join(lines), encoding="utf-8")
    took = _took(found.spent.seconds, found.spent.peak_memory)
    return Outcome(("retrain", seed, arm), time.perf_counter() - started, content, took)


def run_all(
    config: RunConfig,
    seeds: Sequence[int],
    folder: Path,
    *,
    progress: Progress,
    keep: tuple[Name, Keep] | None = None,
) -> Iterator[Outcome]:
    """All searches and retrainings of a comparison, side by side where there are workers for it.

    A retraining starts as soon as the searches that its arm reads are done.

    Args:
        config: the run; its arms and its runtime decide what runs where.
        seeds: one replicate each.
        folder: where jobs leave their files.
        progress: told about every step of every job.
        keep: a job, and what is to be done with its retrained model (must pickle).

    Yields:
        The outcome of each job, as it ends.

    Raises:
        InputError: a job cannot be done, or its process died; whatever else a job raises.
    """
    arms = config.compare.arms
    bought = config.ranks.rule != "budget"  # every arm may spend what the learned ranks cost
    reads = {arm: {*allocator(arm).searches, *(["learned"] if bought else [])} for arm in arms}
    read = set().union(*reads.values())
    needed = [selection for selection in get_args(Selection) if selection in read]
    kept = dict([keep] if keep else [])
    jobs = [
        Job(
            f"search {selection}, seed {seed}",
            run_search,
            (config, seed, selection, folder),
            work=config.search.total_work(selection),
        )
        for selection in needed
        for seed in seeds
    ]
    jobs += [
        Job(
            f"retrain {arm}, seed {seed}",
            run_retrain,
            (config, seed, arm, folder, kept.get(("retrain", seed, arm))),
            needs=frozenset(f"search {selection}, seed {seed}" for selection in reads[arm]),
            work=allocator(arm).total_work(config),
        )
        for arm in arms
        for seed in seeds
    ]
    progress.start("searches and retrainings", sum(job.work for job in jobs))
    # Closed at once where a job fails: else the pool would run on for as long as the error is held.
    with closing(run_jobs(jobs, None, partial(local_pool, config, progress))) as all_ended:
        for ended in all_ended:
            if ended.error is not None:
                raise ended.failure or InputError(f"{ended.job.key}: {ended.error}")
            yield ended.value
