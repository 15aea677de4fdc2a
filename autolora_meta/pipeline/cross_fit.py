"""Cross-fitting: candidates judged on training and validation rows that they did not see."""

import logging
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import torch
from datasets import DatasetDict
from torch import Tensor

from autolora_meta.config.run import RunConfig
from autolora_meta.errors import Apart, InputError, NotFinite
from autolora_meta.finetuning.prepare import Prepared
from autolora_meta.finetuning.retrain import RetrainOptions, RetrainResult, retrain
from autolora_meta.finetuning.stacked_retrain import Trained
from autolora_meta.foundation.cost import Cost
from autolora_meta.foundation.device import threads
from autolora_meta.foundation.progress import Progress, Share, Silent
from autolora_meta.pipeline.folds import fitted_rows, folds_of
from autolora_meta.pipeline.memory import naming_what_to_lower
from autolora_meta.pipeline.retrain_together import Retraining, retrain_together
from autolora_meta.pipeline.search_together import MOST
from autolora_meta.ranks.pattern import RankPattern

_LOG = logging.getLogger("autolora_meta")
FOLDS = 4  # a quarter of the rows is held out: adapters are nearly those of all rows


@dataclass(frozen=True)
class Candidate:
    """What is judged: ranks, and how they are retrained.

    Args:
        name: for people.
        pattern: its ranks.
        options: steps, learning rate, decay and so on.
    """

    name: str
    pattern: RankPattern
    options: RetrainOptions


@dataclass(frozen=True)
class CrossFit:
    """The loss of each row by an adapter that did not see it.

    Args:
        losses: the task's loss of each row of `fitted_rows`, by candidate: NaN where it was not
            scored, infinite where the loss of the retraining is no number. (C, n) float64
        cost: passes of retrainings and of scoring.
    """

    losses: Tensor
    cost: Cost


def cross_fit(
    config: RunConfig,
    prepared: Prepared,
    seed: int,
    candidates: Sequence[Candidate],
    *,
    folds: int = FOLDS,
    rows: Iterable[int] | None = None,
    progress: Progress | None = None,
) -> CrossFit:
    """Retrain each candidate on all folds of training and validation rows but one; score that one.

    All retrainings start from the same new factors, and those of a fold see its rows in the same
    order: differences between candidates are paired. What a search trained is no start here, since
    it has seen the rows. Where `runtime.stack` allows, they share passes over the base; else, or
    where the model does not allow it, each is done by itself. Test rows are not touched.

    Args:
        config: of the run; `retrain` is that of each candidate.
        prepared: base and rows of the replicate.
        seed: of the replicate.
        candidates: at least one.
        folds: parts of the rows; a fold without a row to score needs no retraining.
        rows: numbers of the rows to score; None: all.
        progress: told after each step.

    Raises:
        InputError: there are fewer rows than folds, or a retraining is refused.
        OutOfMemory: memory did not suffice; says what to lower.

    Source: Stone, Cross-validatory choice and assessment of statistical predictions, 1974.
    """
    fitted = fitted_rows(prepared)
    wanted = set(range(len(fitted)) if rows is None else rows)
    parts = _parts(prepared, folds_of(prepared, seed, folds), wanted)
    losses = torch.full((len(candidates), len(fitted)), math.nan, dtype=torch.float64)
    places, several, cost = list[tuple[int, list[int]]](), list[Retraining](), Cost()
    for scored, part in parts:
        for c, candidate in enumerate(candidates):
            options = candidate.options.in_steps(len(part.rows["train"]))
            own = config.model_copy(update={"retrain": options})
            several.append(Retraining(own, candidate.pattern, seed, part, by_row=True))
            places.append((c, scored))
            batches = math.ceil(len(scored) / options.eval_batch_size)
            cost += Cost(forwards=options.steps + batches, backwards=options.steps)
    for (c, scored), found in zip(places, _retrained(several, progress or Silent()), strict=True):
        losses[c, scored] = math.inf if found is None else found
    return CrossFit(losses, cost)


def _parts(
    prepared: Prepared, folds: Sequence[Sequence[int]], wanted: set[int]
) -> list[tuple[list[int], Prepared]]:
    """Return the numbers of the rows to score, and the rows of the replicate cut for it, by fold.

    There the rows to score are the test rows, and all rows of other folds are training rows.
    """
    fitted, parts = fitted_rows(prepared), list[tuple[list[int], Prepared]]()
    for fold in folds:
        if scored := [i for i in fold if i in wanted]:
            others = fitted.select(sorted(set(range(len(fitted))).difference(fold)))
            rows = {"train": others, "validation": others.select([]), "test": fitted.select(scored)}
            parts.append((scored, replace(prepared, rows=DatasetDict(rows))))  # type: ignore[arg-type]
    return parts


def _retrained(several: Sequence[Retraining], progress: Progress) -> list[Tensor | None]:
    """Return the losses of the test rows of each; None where training lost its way."""
    config, found = several[0].config, list[Tensor | None]()
    most = _at_a_time(config)
    progress.start("cross-fit", sum(one.config.retrain.steps for one in several))
    try:
        while left := several[len(found) :]:
            part = left[:most]
            try:
                found += _in_one_pass(part, progress) if most > 1 else [_alone(part[0], progress)]
            except Apart as apart:
                _LOG.info("candidates are retrained one at a time: %s", apart)
                most = 1
    finally:
        progress.close()
    return found


def _at_a_time(config: RunConfig) -> int:
    """Return how many adapters share a pass, as `runtime.stack` says.

    auto: as many as there are on an accelerator; on a CPU one, since nothing is measured here.
    """
    stack = config.runtime.stack
    if stack == "auto":
        return 1 if config.runtime.resolved_device == "cpu" else MOST
    return 1 if stack == "off" else stack


def _in_one_pass(several: Sequence[Retraining], progress: Progress) -> list[Tensor | None]:
    work = sum(one.config.retrain.steps for one in several)
    return [_losses(end) for end in retrain_together(several, progress=Share(progress, work))]


def _alone(one: Retraining, progress: Progress) -> Tensor | None:
    config = one.config
    with threads(config.runtime.threads), naming_what_to_lower(config, "retrain"):
        try:
            return _losses(
                retrain(
                    one.prepared,
                    one.pattern,
                    config.retrain,
                    seed=one.seed,
                    dropout=config.lora.dropout,
                    by_row=True,
                    device=config.runtime.resolved_device,
                    progress=Share(progress, config.retrain.steps),
                )
            )
        except NotFinite as lost:
            return _losses(lost)


def _losses(end: Trained | RetrainResult | InputError) -> Tensor | None:
    """Return what a retraining measured, None if its loss is no number; raise what else failed."""
    if isinstance(end, NotFinite):
        return None
    if isinstance(end, InputError):
        raise end
    return end.losses
