"""Searches of a study: one, or several in one pass; each is kept in a folder of its own."""

import logging
import shutil
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

from autolora_meta.allocators.replicate import Replicate
from autolora_meta.bilevel.options import Selection
from autolora_meta.config.run import RunConfig
from autolora_meta.errors import Changed, InputError, WorkFailed
from autolora_meta.finetuning.shared_base import share_base
from autolora_meta.foundation.memory import peak
from autolora_meta.foundation.places import becomes
from autolora_meta.pipeline.result import SearchResult
from autolora_meta.pipeline.search_together import Replica, search_together
from autolora_meta.studies.chosen import took
from autolora_meta.studies.first_possible import first_possible
from autolora_meta.studies.pool import progress_of
from autolora_meta.studies.saved import checkpoints_of, checkpoints_of_stack

_LOG = logging.getLogger("autolora_meta")

Outcome = dict[str, Any] | Exception  # what `work.search_once` returns, or raises


class Wanted(NamedTuple):
    """A search that runs of a study read.

    Args:
        configs: of those runs: they agree in all that the search depends on, and differ in `ranks`.
        seed: of the replicate.
        selection: learned gates, frozen ones or random ones.
        place: where it goes, as `seed/selection` below it.
        plain: folder of the plain search that is read beside it, if one is.
    """

    configs: Sequence[RunConfig]
    seed: int
    selection: Selection
    place: Path
    plain: Path | None = None


def searched(wanted: Wanted) -> dict[str, Any]:
    """Run one search, unless it is there, and return what it took (`work.search_once`)."""
    started = time.perf_counter()
    if wanted.place.exists():
        return {"seconds": 0.0}
    saved = checkpoints_of(wanted.place)
    seconds, memory = first_possible(
        wanted.configs, wanted.place, lambda config, begun: _search(wanted, config, begun, saved)
    )
    shutil.rmtree(saved, ignore_errors=True)
    return took(time.perf_counter() - started, seconds, memory)


def _search(
    wanted: Wanted, config: RunConfig, folder: Path, saved: Path
) -> tuple[float, int | None]:
    progress = progress_of(config.search.total_work(wanted.selection))
    kept = {"folder": folder, "checkpoints": saved, "plain": wanted.plain}
    replicate = Replicate(config, wanted.seed, progress=progress, **kept)
    _ = replicate.prepared  # loading is no part of searching
    with peak(config.runtime.resolved_device) as rose:
        result = replicate.searched(wanted.selection)
    progress.close()
    return result.seconds, rose[0] if rose else None


def searched_together(several: Sequence[Wanted]) -> list[Outcome]:
    """Run several searches in one pass where that can be, else one at a time.

    Returns:
        What `work.search_once` returns, or raises, for each.
    """
    if len(several) > 1 and not any(wanted.place.exists() for wanted in several):
        try:
            return _in_one_pass(several)
        except (WorkFailed, Changed) as error:  # the others would fail as it did
            return [error] * len(several)
        except InputError as error:
            _LOG.warning("%d searches run one at a time: %s", len(several), error)
    return [_alone(wanted) for wanted in several]


def _alone(wanted: Wanted) -> Outcome:
    try:
        return searched(wanted)
    except Exception as error:
        return error


def _in_one_pass(several: Sequence[Wanted]) -> list[Outcome]:
    started = time.perf_counter()
    replicas: list[Replica] = []
    for wanted in several:
        config, seed = wanted.configs[0], wanted.seed
        prepared = Replicate(config, seed).prepared
        share_base(replicas[0].prepared if replicas else prepared, prepared)
        plain = wanted.plain and SearchResult.load(wanted.plain / str(seed) / "plain")
        replicas.append(Replica(config, seed, prepared, plain))
    config, selection = several[0].configs[0], several[0].selection
    saved = checkpoints_of_stack([wanted.place for wanted in several])
    progress = progress_of(len(several) * config.search.total_work(selection))
    with peak(config.runtime.resolved_device) as rose:
        found = search_together(
            replicas,
            selection=selection,
            progress=progress,
            checkpoints=saved,
            most=stack if isinstance(stack := config.runtime.stack, int) else len(replicas),
        )
    progress.close()
    count = len(several)
    memory = rose[0] // count if rose else None
    seconds = (time.perf_counter() - started) / count
    _keep(several, found)
    shutil.rmtree(saved, ignore_errors=True)
    return [
        took(seconds, one.seconds, memory) if isinstance(one, SearchResult) else one
        for one in found
    ]


def _keep(several: Sequence[Wanted], found: Sequence[SearchResult | WorkFailed]) -> None:
    """Write all results, and then let them go to their places, one right after the other.

    So a kill between two of them, after which the others would share a smaller pass, is rare.
    """
    with ExitStack() as folders:
        for wanted, one in zip(several, found, strict=True):
            if isinstance(one, SearchResult):
                begun = folders.enter_context(becomes(wanted.place))
                one.save(begun / str(wanted.seed) / wanted.selection)
