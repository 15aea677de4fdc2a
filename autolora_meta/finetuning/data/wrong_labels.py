"""Wrong labels on purpose: what a method does where training labels are not to be trusted."""

import random
from collections.abc import Sequence

from datasets import Dataset

from autolora_meta.errors import InputError
from autolora_meta.finetuning.data.part import values
from autolora_meta.finetuning.data.roles import Role
from autolora_meta.foundation.progress import Say
from autolora_meta.foundation.randomness import derive

FLIPPED = "data.flip_labels"  # in all that is said of them


def with_wrong_labels(
    rows: Dataset, share: float, roles: Sequence[Role], seed: int, say: Say
) -> Dataset:
    """Return the rows, a share of them with another class, each of the others as likely.

    Args:
        rows: of the training split.
        share: of the rows, between 0 and 1.
        roles: the columns that the task reads.
        seed: of the replicate, from which follows which rows, and their classes.
        say: told how many they are.

    Raises:
        InputError: the task learns no class of a row.
    """
    label = next((role.name for role in roles if role.kind == "class"), None)
    if label is None:
        raise InputError(
            f"{FLIPPED} makes classes of training rows wrong, and this task learns no class "
            "of a row; set it to 0"
        )
    draw = random.Random(_seed(seed))
    labels, classes = list(values(rows, label)), rows.features[label].num_classes
    wrong = _drawn(draw, len(labels), share)
    for row in wrong:
        labels[row] = draw.choice([c for c in range(classes) if c != labels[row]])
    say(
        f"{len(wrong)} of {len(labels)} training rows have a wrong label on purpose "
        f"({FLIPPED}); those of validation and test rows are as they were"
    )
    others = rows.remove_columns(label)
    return others.add_column(label, labels, feature=rows.features[label]).select_columns(
        rows.column_names
    )


def wrong_rows(count: int, share: float, seed: int) -> list[int]:
    """Return the numbers of the training rows that `data.flip_labels` made wrong, sorted.

    Args:
        count: of training rows.
        share: of them, as `with_wrong_labels` was given it.
        seed: of the replicate.

    >>> wrong_rows(10, 0.2, seed=0)
    [7, 9]
    """
    return _drawn(random.Random(_seed(seed)), count, share)


def _seed(seed: int) -> int:
    return derive(seed, "wrong labels")


def _drawn(draw: random.Random, count: int, share: float) -> list[int]:
    return sorted(draw.sample(range(count), round(share * count)))
