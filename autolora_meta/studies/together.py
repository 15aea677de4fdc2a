"""Several runs of a study whose adapters are retrained in one pass; each is a run of its own."""

import logging
import shutil
import time
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any

from autolora_meta.errors import Changed, InputError, WorkFailed
from autolora_meta.finetuning.prepare import Prepared
from autolora_meta.finetuning.retrain import RetrainResult
from autolora_meta.finetuning.shared_base import share_base
from autolora_meta.finetuning.stacked_retrain import Trained
from autolora_meta.pipeline.retrain_together import Retraining, retrain_together
from autolora_meta.studies.chosen import Asked, Chosen, choosing, took
from autolora_meta.studies.pool import whole_progress
from autolora_meta.studies.saved import checkpoints_of, checkpoints_of_stack

_LOG = logging.getLogger("autolora_meta")

Outcome = dict[str, Any] | Exception  # what `work.retrain_once` returns, or raises


def retrained_together(several: Sequence[Asked]) -> list[Outcome]:
    """Choose the ranks of runs one after the other, retrain all in one pass, and test them.

    Args:
        several: the runs; their configurations agree in model, data, task and `lora`, but its `k`.

    Returns:
        What `work.retrain_once` returns, or raises, for each.
    """
    outcomes: dict[int, Outcome] = {}
    with ExitStack() as every:
        loaded: dict[object, Prepared] = {}
        begun: list[tuple[int, Chosen, ExitStack, float]] = []
        for number, asked in enumerate(several):
            started, folder = time.perf_counter(), every.enter_context(ExitStack())
            try:
                chosen = folder.enter_context(choosing(asked, loaded.get(_loading(asked))))
                prepared = loaded.setdefault(_loading(asked), chosen.replicate.prepared)
                share_base(next(iter(loaded.values())), prepared)
            except Exception as error:
                outcomes[number] = error
                folder.__exit__(type(error), error, error.__traceback__)  # its folder goes
            else:
                begun.append((number, chosen, folder, time.perf_counter() - started))
        started = time.perf_counter()
        results = _results([chosen for _, chosen, _, _ in begun])
        share = (time.perf_counter() - started) / max(1, len(begun))
        kept = bool(begun)
        for (number, chosen, folder, seconds), result in zip(begun, results, strict=True):
            outcomes[number] = _left(chosen, folder, result, seconds + share)
            kept &= isinstance(outcomes[number], dict) or outcomes[number] is result
        if kept:  # all that was trained: a disk that was full leaves the checkpoint
            saved = checkpoints_of_stack([chosen.asked.place for _, chosen, _, _ in begun])
            shutil.rmtree(saved, ignore_errors=True)
    return [outcomes[number] for number in range(len(several))]


def _loading(asked: Asked) -> object:
    """Return by what runs have the same model and rows."""
    about = asked.config.model_dump_json(include={"model", "data", "task"})
    return asked.seed, about


def _left(
    chosen: Chosen, folder: ExitStack, result: RetrainResult | Trained | Exception, seconds: float
) -> Outcome:
    """Let the folder of a run go to its place, and return what came of it."""
    try:
        with folder:
            if isinstance(result, Exception):
                raise result
            told = chosen.leave(result)
    except Exception as error:
        return error
    shutil.rmtree(checkpoints_of(chosen.asked.place), ignore_errors=True)
    spent = chosen.found.spent
    return told | took(seconds, spent.seconds, spent.peak_memory)


def _results(several: Sequence[Chosen]) -> list[RetrainResult | Trained | Exception]:
    """Retrain in one pass where that can be, else one at a time."""
    if len(several) > 1:
        try:
            return [*_in_one_pass(several)]
        except (WorkFailed, Changed) as error:  # the others would fail as it did
            return [error] * len(several)
        except InputError as error:
            _LOG.warning("%d adapters are retrained one at a time: %s", len(several), error)
    return [_alone(chosen) for chosen in several]


def _in_one_pass(several: Sequence[Chosen]) -> Sequence[Trained | Exception]:
    saved = checkpoints_of_stack([chosen.asked.place for chosen in several])
    return retrain_together(
        [
            Retraining(
                chosen.own,
                chosen.pattern,
                chosen.asked.seed,
                chosen.replicate.prepared,
                chosen.start,
            )
            for chosen in several
        ],
        progress=whole_progress(),
        checkpoints=saved,
    )


def _alone(chosen: Chosen) -> RetrainResult | Exception:
    try:
        return chosen.alone()
    except Exception as error:
        return error
