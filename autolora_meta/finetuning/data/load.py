"""From options to three disjoint splits, whatever the source."""

import logging
from collections.abc import Sequence

from datasets import Dataset, DatasetDict, Features, List, Value, concatenate_datasets

from autolora_meta.errors import InputError
from autolora_meta.finetuning.data import class_counts, missing, overlap, sources, splits
from autolora_meta.finetuning.data.canonical import canonical
from autolora_meta.finetuning.data.columns import GROUP, choose
from autolora_meta.finetuning.data.options import DataOptions
from autolora_meta.finetuning.data.part import PLACE, values
from autolora_meta.finetuning.data.roles import Role
from autolora_meta.finetuning.data.sources import Given
from autolora_meta.finetuning.data.split_names import TEST, TRAIN, VALIDATION, known
from autolora_meta.finetuning.data.wrong_labels import with_wrong_labels
from autolora_meta.foundation.progress import Say
from autolora_meta.foundation.randomness import derive

REFERENCES = "references"
OURS = (GROUP, PLACE)  # columns that are no role's
_log = logging.getLogger(__name__)


def load_rows(
    options: DataOptions,
    roles: Sequence[Role],
    seed: int,
    *,
    say: Say = _log.info,
    group: str | None = None,
    given: Given | None = None,
) -> DatasetDict:
    """Read the source and cut it into train, validation and test rows.

    Test rows are the source's own test split; or its validation split, where the test split is not
    there or has no labels (GLUE); or they are cut from the rows, where it has neither. All other
    labelled rows are pooled, each content once, and train and validation are cut from the pool anew
    for each seed: stratified where there are classes, by whole groups where rows are grouped.
    Where the source has its own test rows they are the same for every seed.

    Args:
        options: source, columns and sizes.
        roles: the columns that the task reads.
        seed: of the replicate; the split draws from `derive(seed, "split")`.
        say: told what was chosen: columns, dropped rows, where the test rows come from.
        group: the role whose equal values stay on one side of every cut, where the person names no
            column for that (`options.group`).
        given: rows at hand, read in the place of `options.source`: a Dataset, or splits by name.

    Returns:
        Splits train, validation and test with the columns that `roles` tells of. Where what is to
        be written has references, the test rows hold those of one input in one row, in the
        column references; target is the first of them.

    Raises:
        InputError: the source cannot be read or cut as asked, or splits hold the same contents.

    Example:
        >>> options = DataOptions(train_rows=200, validation_rows=200)
        >>> load_rows(options, (TEXT, TEXT_PAIR, LABEL), seed=0)  # doctest: +SKIP
    """
    source = "the data given" if given is not None else f"data.source '{options.source}'"
    parts = known(sources.read(options, roles, given, say), source, say)
    chosen = choose(parts, roles, options, say)
    parts = missing.labelled(parts, chosen, roles, say)
    test_name = next((name for name in (*TEST, *VALIDATION) if name in parts), None)
    trained = [
        name for name in parts if name == TRAIN or (name in VALIDATION and name != test_name)
    ]
    if not trained:
        labelled = f"labelled rows in {', '.join(parts)} only" if parts else "no labelled rows"
        raise InputError(f"{source} has {labelled}; a split called {TRAIN} with labels is needed")
    used = {name: parts[name] for name in (*trained, test_name) if name is not None}
    used = missing.without(used, chosen, roles, options.missing, say)
    rows = canonical(used, chosen, roles, trained, options, say)
    pool = concatenate_datasets([rows[name] for name in trained])
    test = rows[test_name] if test_name is not None else None
    side = GROUP if GROUP in chosen else group if group in chosen else None
    pool, test = _distinct(pool, test, roles, options, side is not None, say)
    if side is not None:
        say(f"rows with the same {chosen[side]} stay on one side of every cut")
    say(f"train and validation rows are cut from the source's {' and '.join(trained)} rows")
    if test is None:
        say("test rows are cut from the source's rows, anew for each seed")
    else:
        say(f"test rows are the source's {test_name} split, the same for each seed")
    cut = _cut(pool, test, roles, options, side, seed)
    if side == GROUP and options.overlap != "allow":
        overlap.refuse_crossing(cut, roles, chosen[GROUP])
    if share := options.flip_labels:
        wrong = derive(seed, "wrong labels")
        cut["train"] = with_wrong_labels(cut["train"], share, roles, wrong, say)
    say(", ".join(f"{split} {_size(part)}" for split, part in cut.items()))
    class_counts.say_counts(cut, roles, say)
    return DatasetDict(cut)  # type: ignore[arg-type]


def _distinct(
    pool: Dataset,
    test: Dataset | None,
    roles: Sequence[Role],
    options: DataOptions,
    grouped: bool,
    say: Say,
) -> tuple[Dataset, Dataset | None]:
    """Return the rows to cut from and the source's own test rows: no repeats, no rare class."""
    all_rows = pool
    pool = overlap.without_repeats(pool, roles, options.overlap, say)
    if test is not None:
        pool = overlap.apart(pool, test, roles, options.overlap, say)
    role = next((role for role in roles if role.kind in ("class", "tags")), None)
    if role is None:
        return pool, test
    if options.rare == "refuse":
        class_counts.refuse_lost(all_rows, pool, role)
    if role.kind == "tags" or (grouped and options.rare == "refuse" and not options.rare_below):
        return pool, test  # not every part has every class then
    least = options.rare_below or (3 if test is None else 2)
    present = {
        *values(all_rows, role.name),
        *(() if test is None else values(test, role.name)),
    }
    return class_counts.without_rare(pool, test, role.name, present, least, options.rare, say)


def _cut(
    pool: Dataset,
    test: Dataset | None,
    roles: Sequence[Role],
    options: DataOptions,
    side: str | None,
    seed: int,
) -> dict[str, Dataset]:
    """Return train, validation and test rows with the columns of the roles."""
    wanted = {
        "test": options.test_rows,
        "validation": options.validation_rows,
        "train": options.train_rows,
    }
    cut: dict[str, Dataset] = {}
    if test is not None:
        # One seed for all replicates, so that they are measured on the same rows.
        of_test = {"test": wanted.pop("test")}
        cut = _drawn(_gathered(test, roles), of_test, roles, None, derive(0, "test"))
    cut |= _drawn(pool, wanted, roles, side, derive(seed, "split"))
    if test is None:
        cut["test"] = _gathered(cut["test"], roles)
    return {
        split: cut[split].select_columns([c for c in cut[split].column_names if c not in OURS])
        for split in ("train", "validation", "test")
    }


def _drawn(
    rows: Dataset,
    wanted: dict[str, int | float | None],
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


def _size(rows: Dataset) -> str:
    if REFERENCES not in rows.column_names:
        return f"{len(rows)} rows"
    return f"{len(rows)} inputs with {sum(map(len, values(rows, REFERENCES)))} references"
