"""Rows that keep their number in a batch, so that each of them can have a weight."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from datasets import Dataset
from torch import Tensor, nn

from autolora_meta.errors import InputError
from autolora_meta.finetuning.batch_order import Collate
from autolora_meta.finetuning.stacked_loss import LossOfEach

NUMBER = "row_number"  # the column of ours that says which row of the data set this is

BatchLoss = Callable[[nn.Module, Mapping[str, Any]], Tensor]


def numbered(rows: Dataset) -> Dataset:
    """Return encoded rows that know their place among them, from 0. (n)"""
    return rows.add_column(NUMBER, list(range(len(rows))))  # pyright: ignore[reportCallIssue]


def with_numbers(collate: Collate) -> Collate:
    """Return a function that makes a batch of numbered rows, as `collate` does, with their numbers.

    The numbers are the tensor `row_number` of the batch, (B,).
    """

    def collated(rows: list[dict[str, Any]]) -> dict[str, Any]:
        inputs = [{key: row[key] for key in row if key != NUMBER} for row in rows]
        numbers = torch.tensor([row[NUMBER] for row in rows])
        return {**collate(inputs), NUMBER: numbers}

    return collated


def parted(batch: Mapping[str, Any]) -> tuple[Tensor, dict[str, Any]]:
    """Return the numbers of the rows of a batch, (B,), and what the model takes of it."""
    return batch[NUMBER], {key: batch[key] for key in batch if key != NUMBER}


def losses_of_batch(loss: BatchLoss, model: nn.Module, inputs: Any, count: int) -> Tensor:
    """Return the loss of each row of a batch, with gradients. (B,)

    Args:
        loss: takes a model and a batch; a mean over rows by a function of `torch.nn.functional`.
        model: in whatever mode.
        inputs: the batch, without numbers.
        count: B.

    Raises:
        InputError: the loss is no such mean, so that rows have none of their own.
    """
    with LossOfEach(count):
        losses = loss(model, inputs)
    if losses.numel() != count:
        raise InputError(
            f"the loss of a batch of {count} rows gave {losses.numel()} numbers, and a weight of "
            "each row needs the loss of each: it has to be a mean over rows by a function of "
            "torch.nn.functional, such as cross_entropy"
        )
    return losses.reshape(-1)


@dataclass(frozen=True)
class PlainLoss:
    """The loss of a task on a batch of numbered rows, whose numbers it leaves aside.

    Args:
        loss: of the task.
    """

    loss: BatchLoss

    def __call__(self, model: nn.Module, batch: Mapping[str, Any]) -> Tensor:
        """Return the loss of a batch, with or without numbers."""
        return self.loss(model, {key: batch[key] for key in batch if key != NUMBER})


@dataclass(frozen=True)
class WeightedLoss:
    """The mean over the rows of a batch of weight times loss.

    Args:
        loss: of the task.
        weights: of all rows, by their number; scaled so that their mean is one. (n,)
    """

    loss: BatchLoss
    weights: Tensor

    def __call__(self, model: nn.Module, batch: Mapping[str, Any]) -> Tensor:
        """Return the loss of a batch with numbers."""
        numbers, inputs = parted(batch)
        losses = losses_of_batch(self.loss, model, inputs, len(numbers))
        own = self.weights[numbers.to(self.weights.device)].to(losses)
        return (own / float(self.weights.mean()) * losses).mean()


def weighing(
    loss: BatchLoss, collate: Collate, rows: Dataset, weights: Tensor
) -> tuple[BatchLoss, Collate, Dataset]:
    """Return loss, collator and rows of a training in which each row has a weight.

    Args:
        loss, collate, rows: of the training in which all weigh the same.
        weights: in the order of the rows. (n,)

    Raises:
        InputError: there is not one weight of at least 0 for each row, or all are 0.
    """
    sound = bool(torch.isfinite(weights).all()) and bool((weights >= 0).all())
    if weights.shape != (len(rows),) or not sound or not float(weights.sum()) > 0:
        raise InputError(
            f"weights of rows are a finite number of at least 0 for each of the {len(rows)} "
            f"training and validation rows, and not all of them 0; given {weights.numel()}, from "
            f"{float(weights.min()):g} to {float(weights.max()):g}"
        )
    return WeightedLoss(loss, weights), with_numbers(collate), numbered(rows)
