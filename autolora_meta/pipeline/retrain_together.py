"""Retrain several adapters of one base in one pass: configurations and ranks in."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from autolora_meta.config.run import RunConfig
from autolora_meta.errors import WorkFailed
from autolora_meta.finetuning.prepare import Prepared
from autolora_meta.finetuning.shared_base import share_base
from autolora_meta.finetuning.stacked_jobs import Job
from autolora_meta.finetuning.stacked_retrain import Trained, retrain_stacked
from autolora_meta.finetuning.start import Start
from autolora_meta.foundation.device import threads
from autolora_meta.foundation.progress import Progress, Say
from autolora_meta.pipeline.epochs import in_steps
from autolora_meta.pipeline.memory import failed, naming_what_to_lower
from autolora_meta.ranks.pattern import RankPattern

_LOG = logging.getLogger("autolora_meta")


@dataclass(frozen=True)
class Retraining:
    """What `retrain` takes: one of several.

    Args:
        config: of the run.
        pattern: ranks and scale.
        seed: of the replicate.
        prepared: model and rows of that seed.
        start: what a search trained; None: from scratch.
        by_row: the loss of each test row is wanted, in place of the task's metrics.
    """

    config: RunConfig
    pattern: RankPattern
    seed: int
    prepared: Prepared
    start: Start | None = None
    by_row: bool = False


def retrain_together(
    several: Sequence[Retraining],
    *,
    progress: Progress | None = None,
    checkpoints: str | Path | None = None,
    say: Say = _LOG.info,
) -> list[Trained | WorkFailed]:
    """Do what `retrain` does for each, all in one pass over the base; none becomes a PEFT model.

    Args:
        several: their configurations agree in model, data, task and `lora`, but for its `k`.
        progress: told after each step of all.
        checkpoints: a folder where all are saved as `config.runtime` of the first says, at Ctrl-C
            and at SIGTERM. A call with the same arguments goes on from there, to the same bytes.
        say: told from where it goes on.

    Returns:
        What came of each, or why nothing did: its loss is no longer a number, or memory did not
        suffice for it alone.

    Raises:
        InputError: they cannot be trained in one pass; the message says why.
        OutOfMemory: memory did not suffice; says what to lower.
    """
    first, *others = several
    config = first.config
    for other in others:
        share_base(first.prepared, other.prepared)
    jobs = [
        Job(
            one.prepared,
            one.pattern,
            in_steps(one.config, one.prepared).retrain,
            one.seed,
            one.start,
            one.by_row,
        )
        for one in several
    ]
    with threads(config.runtime.threads), naming_what_to_lower(config, "retrain"):
        found = retrain_stacked(
            jobs,
            dropout=config.lora.dropout,
            device=config.runtime.resolved_device,
            progress=progress,
            checkpoints=config.runtime.kept_in(checkpoints),
            say=say,
        )
    return [
        end if isinstance(end, Trained) else failed(end, one.config, "retrain")
        for end, one in zip(found, several, strict=True)
    ]
