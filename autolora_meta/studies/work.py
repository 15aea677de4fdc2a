"""The three kinds of work of a study, as functions that any process may be given."""

import os
import shutil
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from platform import node
from tempfile import mkdtemp
from typing import Any, TypeVar

from autolora_meta.allocators.allocation import Scoring
from autolora_meta.allocators.replicate import allocator
from autolora_meta.bilevel.options import Selection
from autolora_meta.config.run import RunConfig
from autolora_meta.errors import InputError
from autolora_meta.foundation.cost import Cost, plain_steps
from autolora_meta.pipeline.result import START, SearchResult
from autolora_meta.studies.jobs import effective, run_measure, run_retrain, run_search
from autolora_meta.studies.orphans import end_with_parent

_TOLD = ("metrics", "compared", "parameters", "ranks", "blind_answer")
_Told = TypeVar("_Told")

_alone = threading.Lock()  # torch's generator and threads belong to a process: one job at a time


def search_once(
    configs: Sequence[RunConfig], seed: int, selection: Selection, place: Path
) -> dict[str, Any]:
    """One search, for all runs that read it; where another process was quicker, its own is kept.

    Args:
        configs: of those runs: they agree in all that the search depends on, and differ in `ranks`.
            The first that is possible on the model serves; the others fail in their own run.
        seed: of the replicate.
        selection: learned gates, frozen ones or random ones.
        place: where it goes, as `seed/selection` below it.

    Returns:
        `seconds`; and `allocation_seconds` and `peak_memory`, where it had to be run.
    """
    end_with_parent()
    with _alone:
        if place.exists():
            return {"seconds": 0.0}
        outcome = _first_possible(
            configs, place, lambda config, begun: run_search(config, seed, selection, begun)
        )
    return {"seconds": outcome.seconds, **outcome.measured}


def measure_once(configs: Sequence[RunConfig], seed: int, arm: str, place: Path) -> dict[str, Any]:
    """What one arm measures, for its runs at all budgets.

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
                configs, place, lambda config, begun: run_measure(config, seed, arm).save(begun)
            )
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
        `metrics`, `compared` (their names, the main one first), `blind_answer` (why they show
        nothing learned, or None), `parameters`, `ranks`, `cost` in plain steps, `blind` where a
        search had learned nothing (`SearchResult.blind`); `seconds`, and what choosing the ranks
        took: `allocation_seconds` and `peak_memory`, searches aside.
    """
    end_with_parent()
    shutil.rmtree(place, ignore_errors=True)
    ignore = shutil.ignore_patterns(*([START] if config.retrain.start == "scratch" else []))
    known = Scoring.load(measured) if measured else None
    with _alone, _becomes(place) as begun:
        begun.mkdir()
        for search in searches:
            shutil.copytree(search, begun, dirs_exist_ok=True, ignore=ignore)
        outcome = run_retrain(config, seed, arm, begun, measured=known)
        spent = plain_steps(Cost(**outcome.content["cost"]))
        # With this seed: `autolora-meta retrain` on the folder then takes the same split.
        own = effective(config, arm, spent).model_copy(update={"seed": seed})
        (begun / "config.yaml").write_text(own.to_yaml(), encoding="utf-8")
        found = [SearchResult.load(begun / str(seed) / s) for s in allocator(arm).searches]
    told = {key: outcome.content[key] for key in _TOLD}
    cost = outcome.content["retrain_steps"] + spent
    cost += sum(plain_steps(result.cost) for result in found)
    blind = any(search.blind for result in found for search in result.searches)
    told |= {"cost": cost, "blind": blind}
    return told | {"seconds": outcome.seconds, **outcome.measured}


def _first_possible(
    configs: Sequence[RunConfig], place: Path, call: Callable[[RunConfig, Path], _Told]
) -> _Told:
    """What the first of the configurations that is no bad input gives; its files go to `place`."""
    *others, last = configs
    for config in others:
        with suppress(InputError), _becomes(place) as begun:
            return call(config, begun)
    with _becomes(place) as begun:
        return call(last, begun)


@contextmanager
def _becomes(place: Path) -> Iterator[Path]:
    """Where to write what `place` is to hold: it is there at the end, whole, or not at all.

    The same job may run twice at a time, where a cluster goes on with the jobs of a study that was
    killed and resumed. Equal jobs leave equal files, so the first to end is kept.
    """
    place.parent.mkdir(parents=True, exist_ok=True)
    worker = f"{os.getpid()}@{node()}"  # by which `Ledger.sweep` knows whether it still works
    scratch = Path(mkdtemp(prefix=f".{place.name}-{worker}-", dir=place.parent))
    try:
        yield scratch / place.name
        try:
            (scratch / place.name).rename(place)
        except OSError:
            if not place.exists():
                raise
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
