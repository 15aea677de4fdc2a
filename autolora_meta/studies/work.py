"""The kinds of work of a study, as functions that any process may be given."""

import shutil
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from autolora_meta.allocators.allocation import scoring
from autolora_meta.allocators.budget_choice import choice_work, choose_budget
from autolora_meta.allocators.replicate import Replicate, allocator
from autolora_meta.bilevel.options import Selection
from autolora_meta.config.run import RunConfig
from autolora_meta.finetuning.prepare import Prepared
from autolora_meta.finetuning.retrain import RetrainResult
from autolora_meta.foundation.places import becomes
from autolora_meta.pipeline.memory import naming_what_to_lower
from autolora_meta.ranks.pattern import RankPattern
from autolora_meta.studies.chosen import Asked, choosing, took
from autolora_meta.studies.first_possible import first_possible
from autolora_meta.studies.orphans import end_with_parent
from autolora_meta.studies.pool import progress_of
from autolora_meta.studies.saved import checkpoints_of
from autolora_meta.studies.searched import Wanted, searched, searched_together
from autolora_meta.studies.stack_trial import tried
from autolora_meta.studies.together import retrained_together

Keep = Callable[[RetrainResult, RankPattern, Prepared, Path], None]

_alone = threading.Lock()  # torch's generator and threads belong to a process: one job at a time


def search_once(
    configs: Sequence[RunConfig],
    seed: int,
    selection: Selection,
    place: Path,
    plain: Path | None = None,
) -> dict[str, Any]:
    """Run one search, for all runs that read it; keep that of another process that was quicker.

    Args:
        configs: of those runs: they agree in all that the search depends on, and differ in `ranks`.
            The first that is possible on the model serves; the others fail in their own run.
        seed: of the replicate.
        selection: learned gates, frozen ones, random ones, or plain.
        place: where it goes, as `seed/selection` below it.
        plain: folder of the plain search that is read beside it, if one is.

    Returns:
        `seconds` of all of it; and where it had to be run `allocation_seconds`, and `peak_memory`
        in bytes above the loaded model, or None.
    """
    end_with_parent()
    with _alone:
        return searched(Wanted(configs, seed, selection, place, plain))


def search_together(several: Sequence[tuple[Any, ...]]) -> list[dict[str, Any] | Exception]:
    """Do what `search_once` does for each of several searches, with one pass for all of them.

    Where one pass cannot serve them they run one at a time, and a warning says so.

    Args:
        several: what `Wanted` takes, for each search.

    Returns:
        What `search_once` returns, or raises, for each.
    """
    end_with_parent()
    with _alone:
        return searched_together([Wanted(*arguments) for arguments in several])


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
            first_possible(configs, place, lambda config, begun: _measure(config, seed, arm, begun))
        return {"seconds": time.perf_counter() - started}


def choose_once(
    config: RunConfig, seed: int, place: Path, searches: Iterable[Path]
) -> dict[str, Any]:
    """Choose the budget of all runs that leave it to `auto`.

    Args:
        config: of one of them: they agree in all that the choice depends on.
        seed: of the first replicate, whose rows and search decide.
        place: the file that it goes to.
        searches: folders of `search_once`, of that seed.

    Returns:
        `seconds`; and where it had to be done `allocation_seconds` and `peak_memory`.
    """
    end_with_parent()
    with _alone:
        started = time.perf_counter()
        if place.exists():
            return {"seconds": 0.0}
        progress = progress_of(choice_work(config))
        with becomes(place) as begun:
            copied = begun.parent / "searches"  # ranks at other budgets are written beside it
            for search in searches:
                shutil.copytree(search, copied, dirs_exist_ok=True)
            replicate = Replicate(config.before_choice, seed, folder=copied, progress=progress)
            with naming_what_to_lower(config, "retrain"):
                found = choose_budget(replicate)
            found.save(begun)
        progress.close()
        spent = found.spent
        return took(time.perf_counter() - started, spent.seconds, spent.peak_memory)


def retrain_once(
    config: RunConfig,
    seed: int,
    arm: str,
    place: Path,
    searches: Iterable[Path],
    measured: Path | None = None,
    choice: Path | None = None,
    keep: Keep | None = None,
) -> dict[str, Any]:
    """Choose the ranks of one arm in one replicate, retrain and test them.

    Args:
        config, seed, arm, place, searches, measured, choice: the run (`Asked`).
        keep: called with the retrained model and a folder inside `place`; it pickles.

    Returns:
        `metrics`, `compared` (their names, the main one first), `blind_answer` (why they show
        nothing learned, or None), `parameters`, `ranks`, `start`, `cost` in plain steps, `blind`
        where a search had learned nothing (`SearchResult.blind`), `stack`: how many adapters were
        trained in its pass; `tuned`, where something was picked; `seconds`, and what choosing the
        ranks took: `allocation_seconds` and `peak_memory`, searches aside.
    """
    end_with_parent()
    started = time.perf_counter()
    asked = Asked(config, seed, arm, place, searches, measured, choice)
    with _alone, choosing(asked) as chosen:
        result = chosen.alone()
        if keep is not None:
            keep(result, chosen.pattern, chosen.replicate.prepared, chosen.begun / "adapter")
        told = chosen.leave(result)
    shutil.rmtree(checkpoints_of(place), ignore_errors=True)
    spent = chosen.found.spent
    return told | took(time.perf_counter() - started, spent.seconds, spent.peak_memory)


def retrain_together(
    several: Sequence[tuple[Any, ...]],
) -> list[dict[str, Any] | Exception]:
    """Do what `retrain_once` does for each of several runs, with one pass for all of them.

    Where one pass cannot serve them they are retrained one at a time, and a warning says so.

    Args:
        several: what `Asked` takes, for each run.

    Returns:
        What `retrain_once` returns, or raises, for each.
    """
    end_with_parent()
    with _alone:
        return retrained_together([Asked(*arguments) for arguments in several])


def try_stack(config: RunConfig, seed: int, most: int) -> tuple[int, str]:
    """Return how many adapters are to train at a time, and why (`stack_trial.tried`)."""
    end_with_parent()
    with _alone:
        return tried(config, seed, most)


def _measure(config: RunConfig, seed: int, arm: str, file: Path) -> None:
    progress = progress_of(allocator(arm).work(config))
    with naming_what_to_lower(config, "search"):
        scoring(allocator(arm), Replicate(config, seed, progress=progress)).save(file)
    progress.close()
