"""Cut: disjoint training, validation and test rows, drawn from rows that are clean."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from datasets import Dataset, Features, List, Value

from autolora_meta.finetuning.data import overlap, splits
from autolora_meta.finetuning.data.columns import GROUP
from autolora_meta.finetuning.data.options import DataOptions
from autolora_meta.finetuning.data.part import PLACE, values
from autolora_meta.finetuning.data.roles import Role
from autolora_meta.foundation.randomness import derive

REFERENCES = "references"
OURS = (GROUP, PLACE)  # columns that are no role's


@dataclass(frozen=True)
class Pools:
    """Rows to cut from.

    Args:
        train: training rows are cut from these, and what nothing else is said of.
        held: validation rows are cut from these, and test rows without `test`; None: from `train`.
        test: the source's own test rows; None: they are cut.
    """

    train: Dataset
    held: Dataset | None
    test: Dataset | None


def cut(
    pools: Pools,
    roles: Sequence[Role],
    options: DataOptions,
    side: str | None,
    seed: int,
) -> dict[str, Dataset]:
    """Return train, validation and test rows with the columns of the roles.

    Args:
        pools: rows to cut from.
        roles: the columns that the task reads.
        options: how many rows each split gets.
        side: column whose equal values stay on one side of every cut; None: there is none.
        seed: of the replicate.

    Raises:
        InputError: there are too few rows.
    """
    wanted = {
        "test": options.test_rows,
        "validation": options.validation_rows,
        "train": options.train_rows,
    }
    found: dict[str, Dataset] = {}
    if pools.test is not None:
        # One seed for all replicates, so that they are measured on the same rows.
        of_test = {"test": wanted.pop("test")}
        found = _drawn(_gathered(pools.test, roles), of_test, roles, None, derive(0, "test"))
    if pools.held is not None:
        of_train = {"train": wanted.pop("train")}
        found |= _drawn(pools.train, of_train, roles, side, derive(seed, "split"))
        found |= _drawn(pools.held, wanted, roles, side, derive(seed, "evaluation split"))
    else:
        found |= _drawn(pools.train, wanted, roles, side, derive(seed, "split"))
    if pools.test is None:
        found["test"] = _gathered(found["test"], roles)
    return {
        split: found[split].select_columns([c for c in found[split].column_names if c not in OURS])
        for split in ("train", "validation", "test")
    }


def _drawn(
    rows: Dataset,
    wanted: Mapping[str, int | float | None],
    roles: Sequence[Role],
    side: str | None,
    seed: int,
) -> dict[str, Dataset]:
    """Return disjoint splits of the rows, as large as wanted."""
    counts = splits.row_counts(wanted, len(rows))
    label = next((role.name for role in roles if role.kind == "class"), None)
    if side is not None:
        # Those that take what is left come last: they do not mind a group more or less.
        order = sorted(counts, key=lambda split: wanted[split] is None)
        groups = [tuple(v) if isinstance(v, list) else v for v in values(rows, side)]
        indices = splits.grouped(groups, {split: counts[split] for split in order}, seed)
    elif label is not None:
        indices = splits.stratified(values(rows, label), counts, rows.features[label].names, seed)
    else:
        indices = splits.shuffled(len(rows), counts, seed)
    return {split: rows.select(indices[split]) for split in wanted}


def _gathered(rows: Dataset, roles: Sequence[Role]) -> Dataset:
    """Return one row for each input, with all its references; other tasks' rows as they are."""
    target = next((role.name for role in roles if role.kind == "references"), None)
    if target is None:
        return rows
    same: dict[object, list[int]] = {}
    for i, content in enumerate(overlap.contents(rows, roles)):
        same.setdefault(content, []).append(i)
    targets = values(rows, target)
    references = [list(dict.fromkeys(targets[i] for i in of_input)) for of_input in same.values()]
    first = rows.select([of_input[0] for of_input in same.values()])[:]
    features = Features({**rows.features, REFERENCES: List(Value("string"))})
    return Dataset.from_dict({**first, REFERENCES: references}, features=features)


def size(rows: Dataset) -> str:
    """Return how many rows there are, and references, in words."""
    if REFERENCES not in rows.column_names:
        return f"{len(rows)} rows"
    return f"{len(rows)} inputs with {sum(map(len, values(rows, REFERENCES)))} references"
