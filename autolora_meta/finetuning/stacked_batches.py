"""The batches of a stack: in each step, rows of all jobs that still train."""

from collections.abc import Iterator, Sequence
from itertools import groupby
from multiprocessing import get_all_start_methods
from operator import itemgetter
from typing import Any

import torch
from datasets import Dataset
from torch.utils.data import DataLoader

from autolora_meta.finetuning.stacked_jobs import Job

Order = Sequence[Sequence[int]]  # the numbers of the rows of each step


def parts(orders: Sequence[Order], step: int) -> Iterator[list[int]]:
    """Yield the jobs that train in a step, those with batches of one size together.

    Sizes differ where the options do, and at the ends of epochs.

    >>> list(parts([[[5, 2], [1]], [[0, 3], [4, 2]], [[7, 7]]], step=0))
    [[0, 1, 2]]
    >>> list(parts([[[5, 2], [1]], [[0, 3], [4, 2]], [[7, 7]]], step=1))
    [[1], [0]]
    """
    sizes = {r: len(order[step]) for r, order in enumerate(orders) if step < len(order)}
    for size in sorted(set(sizes.values()), reverse=True):
        yield [r for r, own in sizes.items() if own == size]


def batches(
    jobs: Sequence[Job],
    orders: Sequence[Order],
    device: torch.device,
    *,
    workers: int,
    first: int = 0,
) -> Iterator[dict[str, torch.Tensor]]:
    """Yield the batch of each part of each step, padded together, on the device.

    The random state stays as it is, but for what the collator draws.

    Args:
        jobs: all of the stack.
        orders: the numbers of the rows of each of them.
        device: of the model.
        workers: processes that collate ahead of time; 0: none.
        first: step to begin with.
    """
    numbers = (
        [(r, i) for r in part for i in orders[r][step]]
        for step in range(first, max(map(len, orders)))
        for part in parts(orders, step)
    )
    collate = jobs[0].prepared.collate
    loader = DataLoader(
        _Rows([job.rows for job in jobs]),
        batch_sampler=numbers,  # pyright: ignore[reportArgumentType]
        collate_fn=lambda rows: dict(collate(rows)),
        num_workers=workers,
        multiprocessing_context="fork" if workers else None,  # collators cannot all be pickled
        pin_memory=device.type == "cuda",
        generator=torch.Generator(),  # else it draws a seed where one begins, or goes on
    )
    for batch in loader:
        yield {name: tensor.to(device, non_blocking=True) for name, tensor in batch.items()}


def workers_beside(device: torch.device) -> int:
    """Return how many processes collate: two beside an accelerator.

    To collate the rows of a hundred adapters takes a core as long as a GPU takes to train them.
    """
    return 2 if device.type != "cpu" and "fork" in get_all_start_methods() else 0


class _Rows(torch.utils.data.Dataset[Any]):
    """Rows by the number of the job and that of the row."""

    def __init__(self, rows: list[Dataset]) -> None:
        self._rows = rows

    def __getitems__(self, numbers: list[tuple[int, int]]) -> list[Any]:
        found = []
        for r, own in groupby(numbers, key=itemgetter(0)):
            found += self._rows[r].__getitems__([i for _, i in own])
        return found
