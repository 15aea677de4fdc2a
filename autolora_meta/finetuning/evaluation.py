"""Evaluation: test rows in batches, and the model's predictions."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from datasets import Dataset
from torch import Tensor
from transformers import PreTrainedModel

from autolora_meta.finetuning.batch_order import Collate


def by_length(rows: Dataset) -> Dataset:
    """Sort rows by length, so that test batches hold little padding."""
    return rows.select(shortest_first(rows)) if "input_ids" in rows.column_names else rows


def shortest_first(rows: Dataset) -> list[int]:
    """Return the numbers of the rows in order of their length; of pictures as they are."""
    if "input_ids" not in rows.column_names:
        return [*range(len(rows))]
    lengths = [len(ids) for ids in rows["input_ids"]]
    return sorted(range(len(rows)), key=lengths.__getitem__)


def batches(
    rows: Dataset, collate: Collate, batch_size: int, device: torch.device
) -> Iterator[dict[str, Tensor]]:
    """Yield all rows in order, `batch_size` at a time."""
    for start in range(0, len(rows), batch_size):
        chosen = list(range(start, min(start + batch_size, len(rows))))
        batch: Mapping[str, Any] = collate(rows.__getitems__(chosen))
        yield {name: tensor.to(device) for name, tensor in batch.items()}


@torch.no_grad()
def predictions(
    model: PreTrainedModel, rows: Dataset, collate: Collate, batch_size: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return logits and labels of all rows, for tasks with one answer per row.

    Args:
        model: in eval mode.
        rows: encoded rows with `labels`. (n)
        collate: makes a batch of a list of rows.
        batch_size: rows a batch.

    Returns:
        The logits (n, C), float32, and the labels (n,).
    """
    logits, labels = [], []
    for batch in batches(rows, collate, batch_size, model.device):
        logits.append(model(**batch).logits.float().cpu().numpy())
        labels.append(batch["labels"].cpu().numpy())
    return np.concatenate(logits), np.concatenate(labels)
