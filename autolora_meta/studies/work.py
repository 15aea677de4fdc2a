"""The three kinds of work of a study, as functions that any process may be given."""

import json
import shutil
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from autolora_meta.allocators.allocation import Scoring, allocation, scoring
from autolora_meta.allocators.replicate import Replicate, allocator
from autolora_meta.bilevel.options import Selection
from autolora_meta.config.run import RunConfig
from autolora_meta.errors import InputError, WorkFailed
from autolora_meta.finetuning.prepare import Prepared
from autolora_meta.finetuning.retrain import RetrainResult
from autolora_meta.finetuning.tasks.blind import blind_answer
from autolora_meta.foundation import manifest
from autolora_meta.foundation.cost import plain_steps
from autolora_meta.foundation.memory import peak
from autolora_meta.foundation.places import becomes
from autolora_meta.pipeline.memory import naming_what_to_lower
from autolora_meta.pipeline.result import START
from autolora_meta.pipeline.retrain import retrain
from autolora_meta.ranks.pattern import RankPattern
from autolora_meta.studies.ledger import CHECKPOINTS
from autolora_meta.studies.orphans import end_with_parent
from autolora_meta.studies.pool import progress_of, whole_progress

Keep = Callable[[RetrainResult, RankPattern, Prepared, Path], None]
TIMES = ("seconds", "allocation_seconds", "peak_memory")  # of a job: they differ from run to run
_Told = TypeVar("_Told")

_alone = threading.Lock()  # torch's generator and threads belong to a process: one job at a time


def search_once(
    configs: Sequence[RunConfig], seed: int, selection: Selection, place: Path
) -> dict[str, Any]:
    """Run one search, for all runs that read it; keep that of another process that was quicker.

    Args:
        configs: of those runs: they agree in all that the search depends on, and differ in `ranks`.
            The first that is possible on the model serves; the others fail in their own run.
        seed: of the replicate.
        selection: learned gates, frozen ones or random ones.
        place: where it goes, as `seed/selection` below it.

    Returns:
        `seconds` of all of it; and where it had to be run `allocation_seconds`, and `peak_memory`
        in bytes above the loaded model, or None.
    """
    end_with_parent()
    with _alone:
        started = time.perf_counter()
        if place.exists():
            return {"seconds": 0.0}
        saved = checkpoints_of(place)
        seconds, memory = _first_possible(
            configs, place, lambda config, begun: _search(config, seed, selection, begun, saved)
        )
        shutil.rmtree(saved, ignore_errors=True)
        return _took(started, seconds, memory)


def measure_once(configs: Sequence[RunConfig], seed: int, arm: str, place: Path) -> dict[str, Any]:
    """Measure what one arm needs, for its runs at all budgets.

    Args:
        configs: of those runs; the first that is possible on the model serves.
        seed: of the replicate.
        arm: the allocator.
        place: the file that it goes to.

    Returns:
        `seconds`.
    """
    end_with_parent()
    with _alone:
        started = time.perf_counter()
        if not place.exists():
            _first_possible(
                configs, place, lambda config, begun: _measure(config, seed, arm, begun)
            )
        return {"seconds": time.perf_counter() - started}


def retrain_once(
    config: RunConfig,
    seed: int,
    arm: str,
    place: Path,
    searches: Iterable[Path],
    measured: Path | None = None,
    keep: Keep | None = None,
) -> dict[str, Any]:
    """Choose the ranks of one arm in one replicate, retrain and test them.

    Args:
        config: of the run.
        seed: of the replicate.
        arm: the allocator.
        place: the folder of the run; what a killed one left there is removed.
        searches: folders of `search_once`. The run works on a copy, because it writes the ranks of
            its own budget beside it.
        measured: file of `measure_once`, where the arm has one.
        keep: called with the retrained model and a folder inside `place`; it pickles.

    Returns:
        `metrics`, `compared` (their names, the main one first), `blind_answer` (why they show
        nothing learned, or None), `parameters`, `ranks`, `start`, `cost` in plain steps, `blind`
        where a search had learned nothing (`SearchResult.blind`); `seconds`, and what choosing the
        ranks took: `allocation_seconds` and `peak_memory`, searches aside.
    """
    end_with_parent()
    started = time.perf_counter()
    shutil.rmtree(place, ignore_errors=True)
    ignore = shutil.ignore_patterns(*([START] if config.retrain.start == "scratch" else []))
    known = Scoring.load(measured) if measured else None
    with _alone, becomes(place) as begun:
        begun.mkdir()
        for search in searches:
            shutil.copytree(search, begun, dirs_exist_ok=True, ignore=ignore)
        share = progress_of(0.0 if known else allocator(arm).work(config))
        replicate = Replicate(config, seed, folder=begun, progress=share)
        with naming_what_to_lower(config, "search"):
            found = allocation(allocator(arm), replicate, known)
        share.close()
        own = effective(config, arm, plain_steps(found.spent.cost))
        saved = checkpoints_of(place)
        result = _retrained(own, arm, replicate, found.pattern, saved)
        if keep is not None:
            keep(result, found.pattern, replicate.prepared, begun / "adapter")
        told = _told(own, arm, replicate, found.pattern, result, plain_steps(found.spent.cost))
        _leave(begun / str(seed) / arm, found.pattern, result, told | {"arm": arm, "seed": seed})
        # With this seed: `autolora-meta retrain` on the folder then takes the same split.
        own = own.model_copy(update={"seed": seed})
        manifest.write_sealed(begun, {"config.yaml": own.to_yaml()})
    shutil.rmtree(saved, ignore_errors=True)
    return told | _took(started, found.spent.seconds, found.spent.peak_memory)


def checkpoints_of(place: Path) -> Path:
    """Return where the job that makes `place` is saved while it runs: the same at every start."""
    return place.parent.parent / CHECKPOINTS / place.name


def effective(config: RunConfig, arm: str, spent: float = 0.0) -> RunConfig:
    """Return the configuration with the retraining that the arm gets: how long, from what start.

    Args:
        spent: plain steps that the arm took for its ranks, searches aside.
    """
    chosen = allocator(arm)
    changes: dict[str, Any] = {"steps": chosen.retrain_steps(config, spent)}
    if not chosen.searches:  # there is nothing to go on from
        changes["start"] = "scratch"
    section = config.retrain.model_copy(update=changes)
    return config.model_copy(update={"retrain": section})


def _search(
    config: RunConfig, seed: int, selection: Selection, folder: Path, saved: Path
) -> tuple[float, int | None]:
    progress = progress_of(config.search.total_work(selection))
    replicate = Replicate(config, seed, folder=folder, checkpoints=saved, progress=progress)
    _ = replicate.prepared  # loading is no part of searching
    with peak(config.runtime.resolved_device) as rose:
        result = replicate.search(selection)
    progress.close()
    return result.seconds, rose[0] if rose else None


def _measure(config: RunConfig, seed: int, arm: str, file: Path) -> None:
    progress = progress_of(allocator(arm).work(config))
    with naming_what_to_lower(config, "search"):
        scoring(allocator(arm), Replicate(config, seed, progress=progress)).save(file)
    progress.close()


def _retrained(
    own: RunConfig, arm: str, replicate: Replicate, pattern: RankPattern, saved: Path
) -> RetrainResult:
    start = None
    if own.retrain.start == "search":
        start = replicate.search(allocator(arm).searches[0]).start
    return retrain(
        own,
        pattern,
        seed=replicate.seed,
        prepared=replicate.prepared,
        start=start,
        progress=whole_progress(),
        checkpoints=saved,
    )


def _told(
    own: RunConfig,
    arm: str,
    replicate: Replicate,
    pattern: RankPattern,
    result: RetrainResult,
    spent: float,
) -> dict[str, Any]:
    """Return what the ledger keeps of a run; equal runs give equal content."""
    task, rows = replicate.prepared.task, replicate.prepared.rows
    searches = [replicate.search(selection) for selection in allocator(arm).searches]
    return {
        "metrics": result.metrics,
        "compared": task.compared,
        "blind_answer": blind_answer(result.metrics, task.blind_loss(rows["test"])),
        "parameters": pattern.parameters,
        "ranks": dict(pattern),
        "start": own.retrain.start,
        "cost": own.retrain.steps + spent + sum(plain_steps(found.cost) for found in searches),
        "blind": any(each.blind for found in searches for each in found.searches),
    }


def _leave(
    folder: Path, pattern: RankPattern, result: RetrainResult, content: Mapping[str, Any]
) -> None:
    """Write ranks.json, result.json and retrain.jsonl into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = (json.dumps({"stage": "retrain"} | row) + "\n" for row in result.log)
    texts = {
        "ranks.json": pattern.to_json() + "\n",
        "result.json": json.dumps(content, indent=2) + "\n",
        "retrain.jsonl": "".join(lines),
    }
    manifest.write_sealed(folder, texts)


def _took(started: float, seconds: float, peak_memory: int | None) -> dict[str, Any]:
    return dict(zip(TIMES, (time.perf_counter() - started, seconds, peak_memory), strict=True))


def _first_possible(
    configs: Sequence[RunConfig], place: Path, call: Callable[[RunConfig, Path], _Told]
) -> _Told:
    """Return what the first of the configurations that is no bad input gives; its files stay."""
    *others, last = configs
    for config in others:
        try:
            with becomes(place) as begun:
                return call(config, begun)
        except WorkFailed:  # the others would fail as it did
            raise
        except InputError:
            continue
    with becomes(place) as begun:
        return call(last, begun)
