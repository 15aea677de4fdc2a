"""The three kinds of work of a study, as functions that any process may be given."""

import os
import shutil
import threading
import time
from collections.abc import Iterable
from multiprocessing import parent_process
from pathlib import Path
from typing import Any

from autolora_meta.allocators.allocation import Measured
from autolora_meta.allocators.replicate import allocator
from autolora_meta.bilevel.options import Selection
from autolora_meta.config import RunConfig
from autolora_meta.hypergradients.products import Cost, plain_steps
from autolora_meta.result import START, SearchResult
from autolora_meta.studies.jobs import effective, run_measure, run_retrain, run_search

_watched = False


def search_once(config: RunConfig, seed: int, selection: Selection, place: Path) -> dict[str, Any]:
    """One search, for all runs that read it; `place` is there when it is whole.

    Args:
        config: of any of those runs: they agree in all that the search depends on.
        seed: of the replicate.
        selection: learned gates, frozen ones or random ones.
        place: where it goes, as `seed/selection` below it.

    Returns:
        `seconds`.
    """
    _end_with_parent()
    begun = place.with_name(f"{place.name}.begun")
    shutil.rmtree(begun, ignore_errors=True)
    outcome = run_search(config, seed, selection, begun)
    begun.rename(place)
    return {"seconds": outcome.seconds}


def measure_once(config: RunConfig, seed: int, arm: str, place: Path) -> dict[str, Any]:
    """What one arm measures, for its runs at all budgets; `place` is there when it is whole.

    Args:
        config: of any of those runs.
        seed: of the replicate.
        arm: the allocator.
        place: the file that it goes to.

    Returns:
        `seconds`.
    """
    _end_with_parent()
    started = time.perf_counter()
    place.parent.mkdir(parents=True, exist_ok=True)
    begun = place.with_name(f"{place.name}.begun")
    run_measure(config, seed, arm).save(begun)
    begun.rename(place)
    return {"seconds": time.perf_counter() - started}


def retrain_once(
    config: RunConfig,
    seed: int,
    arm: str,
    place: Path,
    searches: Iterable[Path],
    measured: Path | None = None,
) -> dict[str, Any]:
    """Ranks of one arm in one replicate, retrained and tested.

    Args:
        config: of the run.
        seed: of the replicate.
        arm: the allocator.
        place: the folder of the run; what a killed one left there is removed.
        searches: folders of `search_once`. The run works on a copy, because it writes the ranks of
            its own budget beside it.
        measured: file of `measure_once`, where the arm has one.

    Returns:
        `metrics`, `compared` (their names, the main one first), `parameters`, `ranks`, `cost` in
        plain steps, and `seconds`.
    """
    _end_with_parent()
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    # With this seed: `autolora-meta retrain` on the folder then takes the same split.
    own = effective(config, arm).model_copy(update={"seed": seed})
    (place / "config.yaml").write_text(own.to_yaml(), encoding="utf-8")
    unread = () if config.retrain.start == "search" else (START,)
    for search in searches:
        ignore = shutil.ignore_patterns(*unread)
        shutil.copytree(search, place, dirs_exist_ok=True, ignore=ignore)
    known = Measured.load(measured) if measured else None
    outcome = run_retrain(config, seed, arm, place, measured=known)
    found = [SearchResult.load(place / str(seed) / s) for s in allocator(arm).searches]
    told = {key: outcome.content[key] for key in ("metrics", "compared", "parameters", "ranks")}
    cost = outcome.content["retrain_steps"] + plain_steps(Cost(**outcome.content["cost"]))
    cost += sum(plain_steps(result.cost) for result in found)
    return told | {"cost": cost, "seconds": outcome.seconds, **outcome.measured}


def _end_with_parent() -> None:
    """End when the parent is killed: else this goes on beside the process that resumes."""
    global _watched
    parent = parent_process()
    if parent is not None and not _watched:
        _watched = True
        threading.Thread(target=lambda: (parent.join(), os._exit(1)), daemon=True).start()
