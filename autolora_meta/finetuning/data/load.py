"""From options to three disjoint splits, whatever the source."""

import logging
from collections.abc import Callable
from functools import cache
from pathlib import Path

from datasets import Dataset, DatasetDict, concatenate_datasets

from autolora_meta.errors import InputError
from autolora_meta.finetuning.data import columns, hub, local, splits, stdlib_docs
from autolora_meta.finetuning.data.options import DataOptions
from autolora_meta.finetuning.hub import could_be_id
from autolora_meta.randomness import derive

EMBEDDED = "stdlib-docs"
TEST = ("test", "test_matched")
VALIDATION = ("validation", "validation_matched", "valid", "val", "dev", "eval")
TRAIN = "train"
_log = logging.getLogger(__name__)


def load_rows(
    options: DataOptions,
    seed: int,
    *,
    say: Callable[[str], None] = _log.info,
) -> DatasetDict:
    """Read the source and cut it into train, validation and test rows.

    Test rows are the source's own test split; or its validation split, where the test split is not
    there or has no labels (GLUE); or they are cut from the rows, where it has neither. All other
    labelled rows are pooled, each text once, and train and validation are cut from the pool anew
    for each seed.
    Where the source has its own test rows they are the same for every seed.

    Args:
        options: source, columns and sizes.
        seed: of the replicate; the split draws from `derive(seed, "split")`.
        say: told what was chosen: columns, dropped rows, where the test rows come from.

    Returns:
        Splits train, validation and test with the columns text, text_pair (where there is a second
        text) and label, a `datasets.ClassLabel`.

    Raises:
        InputError: the source cannot be read or cut as asked, or splits hold the same texts.

    Example:
        >>> load_rows(DataOptions(train_rows=200, validation_rows=200), seed=0)  # doctest: +SKIP
    """
    given = columns.canonical(_source(options), options, say)
    test_name = next((name for name in (*TEST, *VALIDATION) if name in given), None)
    known = (TRAIN, *TEST, *VALIDATION)
    pool_names = [name for name in given if name in known and name != test_name]
    pool_names = [name for name in pool_names if name == TRAIN or name in VALIDATION]
    if not pool_names:
        raise InputError(
            f"data.source '{options.source}' has labelled rows in {', '.join(given)} only; "
            f"a split called {TRAIN} is needed"
        )
    pool = concatenate_datasets([given[name] for name in pool_names])
    if options.overlap != "allow":
        pool = _without_repeats(pool, say)
    wanted = {
        "test": options.test_rows,
        "validation": options.validation_rows,
        "train": options.train_rows,
    }
    parts: dict[str, Dataset] = {}
    if test_name is None:
        say("test rows are cut from the source's rows, anew for each seed")
    else:
        say(f"test rows are the source's {test_name} split, the same for each seed")
        # One seed for all replicates, so that they are measured on the same rows.
        parts = _cut(given[test_name], {"test": wanted.pop("test")}, derive(0, "test"))
        # All of the pool: what this seed does not draw, that of another replicate may.
        if options.overlap == "refuse":
            _refuse_overlap(pool, parts["test"])
        elif options.overlap == "drop":
            pool = _without_test_texts(pool, parts["test"], say)
    parts |= _cut(pool, wanted, derive(seed, "split"))
    rows = DatasetDict({split: parts[split] for split in ("train", "validation", "test")})
    say(", ".join(f"{split} {len(part)} rows" for split, part in rows.items()))
    return rows


@cache  # seconds to read, and the same for every replicate that a process works on
def _embedded() -> DatasetDict:
    return stdlib_docs.load()


def _source(options: DataOptions) -> DatasetDict:
    source = options.source
    if source == EMBEDDED:
        return _embedded()
    path = Path(source).expanduser()
    looks_like_file = path.suffix.lower() in local.READERS or not could_be_id(source)
    if path.exists() or looks_like_file:
        numbered = [c for c in (options.text, options.label) if c is not None and c.isdigit()]
        return local.load(source, header=not numbered)
    return hub.load(source, options.name, options.revision)


def _cut(rows: Dataset, wanted: dict[str, int | float | None], seed: int) -> dict[str, Dataset]:
    counts = splits.row_counts(wanted, len(rows))
    names = rows.features["label"].names
    indices = splits.stratified(rows["label"], counts, names, seed)
    return {split: rows.select(indices[split]) for split in wanted}


def _texts(rows: Dataset) -> list[tuple[str, ...]]:
    keys = [name for name in ("text", "text_pair") if name in rows.column_names]
    return list(zip(*(rows[key] for key in keys), strict=True))


def _without_repeats(pool: Dataset, say: Callable[[str], None]) -> Dataset:
    """Each text once, so that a cut cannot put its repeats on both sides."""
    first: dict[tuple[str, ...], int] = {}
    for i, text in enumerate(_texts(pool)):
        first.setdefault(text, i)
    if len(first) == len(pool):
        return pool
    say(f"{len(pool) - len(first)} rows that repeat the text of an earlier row dropped")
    return pool.select(list(first.values()))


def _without_test_texts(pool: Dataset, test: Dataset, say: Callable[[str], None]) -> Dataset:
    """What is left to cut from when no text of the test rows is."""
    held = set(_texts(test))
    kept = [i for i, text in enumerate(_texts(pool)) if text not in held]
    if len(kept) == len(pool):
        return pool
    say(f"{len(pool) - len(kept)} rows whose text stands in the test rows dropped from the others")
    return pool.select(kept)


def _refuse_overlap(pool: Dataset, test: Dataset) -> None:
    found = splits.overlap({"train or validation": _texts(pool), "test": _texts(test)})
    if found:
        number, example = found
        raise InputError(
            f"{number} texts stand in more than one of train, validation and test, for example in "
            f"{example}; take them out, set data.overlap: drop to have that done, or "
            "data.overlap: allow to insist"
        )
