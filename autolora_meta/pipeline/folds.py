"""Folds: training and validation rows dealt into parts of one size, alike in their classes."""

from collections import Counter
from collections.abc import Hashable, Sequence

import torch
from datasets import Dataset, concatenate_datasets

from autolora_meta.errors import InputError
from autolora_meta.finetuning.prepare import Prepared
from autolora_meta.foundation.randomness import derive


def fitted_rows(prepared: Prepared) -> Dataset:
    """Return the rows that a retraining sees: training rows, then validation rows."""
    return concatenate_datasets([prepared.rows["train"], prepared.rows["validation"]])


def folds_of(prepared: Prepared, seed: int, count: int) -> list[list[int]]:
    """Return the numbers of the rows of each fold, in `fitted_rows`.

    Folds are of one size but for a row, and have equal shares of each class. Rows that share the
    input by which the task groups them (`Task.group`) are in one fold, and folds then differ in
    size. A column named in `data.group` is no longer known once rows are encoded.

    Args:
        prepared: rows of a replicate.
        seed: of the replicate.
        count: of folds.

    Raises:
        InputError: there are fewer rows, or groups of rows, than folds.
    """
    rows, task = fitted_rows(prepared), prepared.task
    labels = rows["labels"] if task.labels and _numbers(rows, "labels") else [0] * len(rows)
    grouped = task.group in rows.column_names
    groups = rows[task.group] if grouped else range(len(rows))
    return dealt(labels, groups, derive(seed, "folds"), count)


def dealt(
    labels: Sequence[Hashable], groups: Sequence[Hashable], seed: int, count: int
) -> list[list[int]]:
    """Deal rows to folds.

    Groups are dealt in random order, class by class, each to the smallest fold.

    Args:
        labels: class of each row. (n,)
        groups: rows with equal ones stay together, and count as of the class of the first. (n,)
        seed: of the order.
        count: of folds.

    Raises:
        InputError: there are fewer groups than folds, or fewer folds than two.

    >>> dealt("aabb", range(4), seed=0, count=2)
    [[0, 3], [1, 2]]
    """
    members: dict[Hashable, list[int]] = {}
    for i, group in enumerate(groups):
        members.setdefault(group, []).append(i)
    if not 2 <= count <= len(members):
        raise InputError(
            f"{len(labels)} training and validation rows, in {len(members)} groups that stay "
            f"together, cannot be dealt into {count} folds; give at least 2 folds and as many rows"
        )
    order = torch.randperm(len(members), generator=torch.Generator().manual_seed(seed)).tolist()
    each = list(members.values())
    first = {label: place for place, label in enumerate(dict.fromkeys(labels))}
    order.sort(key=lambda i: first[labels[each[i][0]]])  # stable: random within a class
    folds, classes = (
        [list[int]() for _ in range(count)],
        [Counter[Hashable]() for _ in range(count)],
    )
    for own in (each[i] for i in order):
        label = labels[own[0]]
        least = min(range(count), key=lambda f: (len(folds[f]), classes[f][label]))
        folds[least] += own
        classes[least][label] += len(own)
    return [sorted(fold) for fold in folds]


def _numbers(rows: Dataset, column: str) -> bool:
    """Return whether a column holds one whole number for each row."""
    return isinstance(rows[0].get(column), int)
