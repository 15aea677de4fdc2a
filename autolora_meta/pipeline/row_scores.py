"""Scores of training rows by an adapter that saw clean rows alone: where their weights start."""

from dataclasses import replace

import torch
from datasets import DatasetDict
from torch import Tensor

from autolora_meta.config.run import RunConfig
from autolora_meta.finetuning import retrain as stock
from autolora_meta.finetuning.prepare import Prepared
from autolora_meta.foundation.device import threads
from autolora_meta.foundation.progress import Progress
from autolora_meta.ranks.pattern import RankPattern


def clean_rows_alone(prepared: Prepared, test: str) -> Prepared:
    """Return a replicate that trains on validation rows only, and is tested on another split."""
    rows = prepared.rows
    none = rows["train"].select([])
    held = {"train": rows["validation"], "validation": none, "test": rows[test]}
    return replace(prepared, rows=DatasetDict(held))  # type: ignore[arg-type]


def scores_by_clean_rows(
    config: RunConfig,
    prepared: Prepared,
    seed: int,
    pattern: RankPattern,
    progress: Progress | None = None,
) -> Tensor:
    """Return for each training row the share of training rows whose loss is above its own. (n,)

    The losses are those of an adapter that was retrained on the validation rows, which has seen no
    training row: a row that it finds unlikely has a doubtful label. Shares depend neither on the
    task nor on the scale of its loss; they lie between 0 and 1, and their mean is a half.

    Args:
        config: of the run; `retrain` says how it is trained.
        prepared: base and rows of the replicate.
        seed: of the replicate.
        pattern: its ranks.
        progress: told after each step.
    """
    with threads(config.runtime.threads):
        losses = stock.retrain(
            clean_rows_alone(prepared, "train"),
            pattern,
            config.retrain,
            seed=seed,
            dropout=config.lora.dropout,
            by_row=True,
            device=config.runtime.resolved_device,
            progress=progress,
        ).losses
    assert losses is not None, "a retraining by row gives losses"
    order = losses.nan_to_num(nan=torch.inf).argsort(stable=True)  # one with nothing to learn: last
    places = torch.empty(len(losses)).index_put_((order,), torch.arange(len(losses)).float())
    return 1 - (places + 0.5) / len(losses)
