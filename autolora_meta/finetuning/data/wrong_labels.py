"""Wrong labels on purpose: what a method does where training labels are not to be trusted."""

import random
from collections.abc import Sequence

from datasets import Dataset

from autolora_meta.errors import InputError
from autolora_meta.finetuning.data.part import values
from autolora_meta.finetuning.data.roles import Role
from autolora_meta.foundation.progress import Say

FLIPPED = "data.flip_labels"  # in all that is said of them


def with_wrong_labels(
    rows: Dataset, share: float, roles: Sequence[Role], seed: int, say: Say
) -> Dataset:
    """Return the rows, a share of them with another class, each of the others as likely.

    Args:
        rows: of the training split.
        share: of the rows, between 0 and 1.
        roles: the columns that the task reads.
        seed: of which rows, and of their classes.
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
    draw = random.Random(seed)
    labels, classes = list(values(rows, label)), rows.features[label].num_classes
    wrong = sorted(draw.sample(range(len(labels)), round(share * len(labels))))
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
