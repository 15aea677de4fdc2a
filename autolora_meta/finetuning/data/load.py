"""From options to three disjoint splits, whatever the source."""

import logging
from collections.abc import Callable, Sequence

from datasets import ClassLabel, Dataset, DatasetDict, Features, List, Value, concatenate_datasets

from autolora_meta.errors import InputError
from autolora_meta.finetuning.data import class_counts, missing, overlap, sources, splits
from autolora_meta.finetuning.data.canonical import canonical
from autolora_meta.finetuning.data.columns import GROUP, choose
from autolora_meta.finetuning.data.options import DataOptions
from autolora_meta.finetuning.data.part import PLACE, Part, values
from autolora_meta.finetuning.data.roles import Role
from autolora_meta.finetuning.data.sources import Given
from autolora_meta.finetuning.data.split_names import split_of
from autolora_meta.foundation.randomness import derive

TEST = ("test", "test_matched")
VALIDATION = ("validation", "validation_matched", "valid", "val", "dev", "eval")
TRAIN = "train"
REFERENCES = "references"
_log = logging.getLogger(__name__)


def load_rows(
    options: DataOptions,
    roles: Sequence[Role],
    seed: int,
    *,
    say: Callable[[str], None] = _log.info,
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
    parts = _known(sources.read(options, roles, given, say), source, say)
    chosen = choose(parts, roles, options, say)
    parts = _labelled(parts, chosen, roles, say)
    test_name = next((name for name in (*TEST, *VALIDATION) if name in parts), None)
    pool_names = [
        name for name in parts if name == TRAIN or (name in VALIDATION and name != test_name)
    ]
    if not pool_names:
        labelled = f"labelled rows in {', '.join(parts)} only" if parts else "no labelled rows"
        raise InputError(f"{source} has {labelled}; a split called {TRAIN} with labels is needed")
    used = {name: parts[name] for name in (*pool_names, test_name) if name is not None}
    used = missing.without(used, chosen, roles, options.missing, say)
    rows = canonical(used, chosen, roles, pool_names, options, say)
    pool = concatenate_datasets([rows[name] for name in pool_names])
    test = rows[test_name] if test_name is not None else None
    side = GROUP if GROUP in chosen else group if group in chosen else None
    pool, test = _distinct(pool, test, roles, options, side is not None, say)
    wanted = {
        "test": options.test_rows,
        "validation": options.validation_rows,
        "train": options.train_rows,
    }
    if side is not None:
        say(f"rows with the same {chosen[side]} stay on one side of every cut")
    cut: dict[str, Dataset] = {}
    say(f"train and validation rows are cut from the source's {' and '.join(pool_names)} rows")
    if test is None:
        say("test rows are cut from the source's rows, anew for each seed")
    else:
        say(f"test rows are the source's {test_name} split, the same for each seed")
        # One seed for all replicates, so that they are measured on the same rows.
        held = _gathered(test, roles)
        cut = _cut(held, {"test": wanted.pop("test")}, roles, None, derive(0, "test"))
    cut |= _cut(pool, wanted, roles, side, derive(seed, "split"))
    if test_name is None:
        cut["test"] = _gathered(cut["test"], roles)
    if side == GROUP and options.overlap != "allow":
        _refuse_crossing(cut, roles, chosen[GROUP])
    cut = {split: _ours_out(cut[split]) for split in ("train", "validation", "test")}
    say(", ".join(f"{split} {_size(part)}" for split, part in cut.items()))
    if found := class_counts.counts(cut, roles):
        tagged = any(role.kind == "tags" for role in roles)
        say(
            class_counts.counts_words(
                found, "tags, words of each" if tagged else "classes, rows of each"
            )
        )
    return DatasetDict(cut)  # type: ignore[arg-type]


def _known(parts: dict[str, Part], source: str, say: Callable[[str], None]) -> dict[str, Part]:
    """The splits whose names say what they are for, train first."""
    names = (TRAIN, *TEST, *VALIDATION)
    told = {name: name for name in parts if name in names}
    for name in parts:
        if name not in names and (split := split_of(name)):
            told.setdefault(split, name)
    known = {name: parts[told[name]] for name in names if name in told}
    if not known:
        raise InputError(
            f"{source} has the splits {', '.join(parts)}; a split called {TRAIN} is needed; say "
            "which is which with data.splits"
        )
    if others := [name for name in parts if name not in told.values()]:
        say(f"splits not read: {', '.join(others)}")
    return known


def _labelled(
    parts: dict[str, Part],
    chosen: dict[str, str],
    roles: Sequence[Role],
    say: Callable[[str], None],
) -> dict[str, Part]:
    learned = [role for role in roles if role.kind in ("class", "number", "tags", "references")]
    kept = dict(parts)
    for split, part in parts.items():
        for role in learned:
            if len(part.rows) and missing.unlabelled(part, chosen[role.name]):
                say(f"split {split} has no labels: left out")
                kept.pop(split, None)
    return kept


def _distinct(
    pool: Dataset,
    test: Dataset | None,
    roles: Sequence[Role],
    options: DataOptions,
    grouped: bool,
    say: Callable[[str], None],
) -> tuple[Dataset, Dataset | None]:
    """The rows to cut from and the source's own test rows: no repeats, no class of too few rows."""
    all_rows = pool
    pool = overlap.without_repeats(pool, roles, options.overlap, say)
    if test is not None:
        pool = overlap.apart(pool, test, roles, options.overlap, say)
    role = next((role for role in roles if role.kind in ("class", "tags")), None)
    if role is None:
        return pool, test
    label = role.name
    if options.rare == "refuse":
        class_counts.refuse_lost(all_rows, pool, role)
    if role.kind == "tags" or (grouped and options.rare == "refuse" and not options.rare_below):
        return pool, test  # not every part has every class then
    least = options.rare_below or (3 if test is None else 2)
    present = {*values(all_rows, label), *(() if test is None else values(test, label))}
    return class_counts.without_rare(pool, test, label, present, least, options.rare, say)


def _cut(
    rows: Dataset,
    wanted: dict[str, int | float | None],
    roles: Sequence[Role],
    side: str | None,
    seed: int,
) -> dict[str, Dataset]:
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
    """One row for each input, with all that is said of it; rows as they are for other tasks."""
    target = next((role.name for role in roles if role.kind == "references"), None)
    if target is None:
        return rows
    said: dict[object, list[int]] = {}
    for i, content in enumerate(overlap.contents(rows, roles)):
        said.setdefault(content, []).append(i)
    targets = values(rows, target)
    references = [list(dict.fromkeys(targets[i] for i in there)) for there in said.values()]
    first = rows.select([there[0] for there in said.values()])[:]
    features = Features({**rows.features, REFERENCES: List(Value("string"))})
    return Dataset.from_dict({**first, REFERENCES: references}, features=features)


def _size(rows: Dataset) -> str:
    if REFERENCES not in rows.column_names:
        return f"{len(rows)} rows"
    return f"{len(rows)} inputs with {sum(map(len, values(rows, REFERENCES)))} references"


def _refuse_crossing(cut: dict[str, Dataset], roles: Sequence[Role], column: str) -> None:
    """Groups of the person's own may leave one content, or all rows of a class, on one side."""
    found = splits.overlap({split: overlap.contents(part, roles) for split, part in cut.items()})
    if found:
        raise InputError(
            f"data.group '{column}' leaves {found[0]} {overlap.noun(roles)}s on two sides, for "
            f"example in {found[1]}; choose a column that has one value for each, or set "
            "data.overlap: allow to insist"
        )
    for role in roles:
        if role.kind == "class":
            seen = {split: set(values(part, role.name)) for split, part in cut.items()}
            feature = cut["train"].features[role.name]
            assert isinstance(feature, ClassLabel)
            for lost in sorted(set().union(*seen.values()) - seen["train"]):
                raise InputError(
                    f"class '{feature.names[lost]}' has no rows in train: data.group '{column}' "
                    "puts them elsewhere; give more groups of it, more train_rows, or another group"
                )


def _ours_out(rows: Dataset) -> Dataset:
    """Rows without the columns that are no role's."""
    return rows.remove_columns([name for name in (GROUP, PLACE) if name in rows.column_names])
