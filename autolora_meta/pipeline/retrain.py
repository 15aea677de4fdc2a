"""Retrain: a configuration and ranks in; a trained PEFT adapter out."""

import logging
from pathlib import Path

from torch import Tensor

from autolora_meta.config.run import RunConfig
from autolora_meta.errors import InputError
from autolora_meta.finetuning import retrain as stock
from autolora_meta.finetuning.prepare import Prepared
from autolora_meta.finetuning.start import Start
from autolora_meta.finetuning.tasks import refuse_lacking
from autolora_meta.foundation import processes
from autolora_meta.foundation.device import threads
from autolora_meta.foundation.progress import Progress, Say
from autolora_meta.pipeline.beside import NOWHERE, prepared_beside
from autolora_meta.pipeline.memory import naming_what_to_lower
from autolora_meta.pipeline.prepare import prepare
from autolora_meta.ranks.pattern import RankPattern

_LOG = logging.getLogger("autolora_meta")


def retrain(
    config: RunConfig,
    pattern: RankPattern,
    *,
    seed: int | None = None,
    prepared: Prepared | None = None,
    start: Start | None = None,
    weights: Tensor | None = None,
    progress: Progress | None = None,
    checkpoints: str | Path | None = None,
    say: Say = _LOG.info,
) -> stock.RetrainResult:
    """Train a stock PEFT LoRA with these ranks on train + validation rows, and test it.

    >>> config = RunConfig.load("quickstart")                               # doctest: +SKIP
    >>> result = retrain(config, search(config).allocate(budget="uniform:2"))
    >>> result.metrics["accuracy"]
    >>> result.model.save_pretrained("adapter")

    Args:
        config: of the run: model, data, task, `retrain`, and the dropout of `lora`.
        pattern: ranks and scale; a layer of rank 0 gets no adapter.
        seed: of the replicate; None: `config.seed`.
        prepared: model and rows, if already loaded; they are left unchanged.
        start: what a search trained (`SearchResult.start`), to go on from it, whatever
            `retrain.start` says.
        weights: of the training rows, then of the validation rows, each at least 0, such as
            `LearnedWeights.of_all`; None: all weigh the same. (n,)
        progress: told after each step.
        checkpoints: a folder where it is saved as `config.runtime` says, at Ctrl-C and at SIGTERM.
            A call with the same arguments goes on from there, to the same bytes. Remove it once you
            have the result. None: nothing is saved.
        say: told from where it goes on.

    Returns:
        The model with its adapter and head, the metrics on the test rows, and the losses.

    Raises:
        InputError: all ranks are 0, the pattern is of another model, the configuration cannot work
            on this model and data, the loss is no longer a number, or `retrain.start` is search and
            no start is given, or the start is of another seed, or the
            checkpoints are of another retraining.
        OutOfMemory: memory did not suffice; says what to lower.
    """
    if config.retrain.start == "search" and start is None:
        raise InputError(
            "retrain.start is search, and no start was given; give start=result.start (None where "
            "search/start.safetensors is missing: search again), or set retrain.start to scratch"
        )
    seed = config.seed if seed is None else seed
    if start is not None and start.seed != seed:
        raise InputError(
            f"the start is of a search with seed {start.seed}, whose training rows may be test "
            f"rows of seed {seed}; give the start of a search with seed {seed}"
        )
    with threads(config.runtime.threads), naming_what_to_lower(config, "retrain"):
        prepared = prepared or prepare(config, seed)
        refuse_lacking(prepared.task, config.compare.compared(prepared.task.compared))
        if weights is not None and processes.count() > 1:
            raise InputError("rows with weights are retrained in one process; start no others")
        kept = config.runtime.kept_in(checkpoints)
        with processes.together(_follow, config, pattern, seed, start, kept is not None):
            return stock.retrain(
                prepared,
                pattern,
                config.retrain,
                dropout=config.lora.dropout,
                start=start,
                weights=weights,
                seed=seed,
                device=config.runtime.resolved_device,
                progress=progress,
                checkpoints=kept,
                say=say,
            )


def _follow(
    config: RunConfig, pattern: RankPattern, seed: int, start: Start | None, kept: bool
) -> None:
    """Take the steps of a retraining with the first process, which alone tests what comes of it."""
    given = {"prepared": prepared_beside(config, seed), "start": start}
    retrain(config, pattern, seed=seed, checkpoints=NOWHERE if kept else None, **given)
