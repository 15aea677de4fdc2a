"""The loss of each row of a data set, which does not depend on the rows beside it."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from datasets import Dataset
from torch import Tensor, nn

from autolora_meta.finetuning.batch_order import Collate
from autolora_meta.finetuning.evaluation import shortest_first
from autolora_meta.finetuning.stacked_loss import LossOfEach


@torch.no_grad()
def row_losses(
    model: nn.Module,
    loss: Callable[[Any, Mapping[str, Any]], Tensor],
    rows: Dataset,
    collate: Collate,
    batch_size: int,
) -> Tensor:
    """Return the loss of each row, as of batches that hold one row. (n,) float64

    Rows share batches where a batch gives the loss of each: the loss is a mean over rows by a
    function of `torch.nn.functional`, and rows do not see each other. That is tried on one batch;
    where it is not so, each row has a batch of its own.

    Args:
        model: in eval mode, on its device.
        loss: takes a model and a batch. The loss of a row of several tokens is their mean.
        rows: encoded rows. (n)
        collate: makes a batch of a list of rows.
        batch_size: most rows of a batch.

    Returns:
        The losses in the order of the rows; NaN where a row holds nothing to predict.
    """
    first = next(model.parameters())

    def of(numbers: Sequence[int]) -> Tensor | None:
        batch = collate(rows.__getitems__([*numbers]))
        with LossOfEach(len(numbers)):
            given = loss(model, {name: part.to(first.device) for name, part in batch.items()})
        count = given.numel()  # one row has one loss, whatever takes it
        return given.double().cpu().reshape(-1) if count == len(numbers) else None

    def shareable(numbers: Sequence[int]) -> bool:
        beside, alone = of(numbers), of(numbers[:1])
        if beside is None or alone is None:
            return False
        near = torch.finfo(first.dtype).eps ** 0.5
        return torch.allclose(beside[:1], alone, rtol=near, atol=near, equal_nan=True)

    order = shortest_first(rows)  # so that batches hold little padding
    batches = [order[i : i + batch_size] for i in range(0, len(order), batch_size)]
    if batches and not shareable(batches[0]):
        batches = [[i] for i in order]
    found = torch.empty(len(rows), dtype=torch.float64)
    for numbers in batches:
        losses = of(numbers)
        assert losses is not None, f"a loss that is none of its {len(numbers)} rows"
        found[numbers] = losses
    return found
