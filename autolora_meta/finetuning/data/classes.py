"""Classes: their names as a source spells them, cleaned, and how many rows each has."""

import unicodedata
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, Literal

import pyarrow as pa
from datasets import ClassLabel, Dataset, DatasetInfo, Features

from autolora_meta.errors import InputError, unknown
from autolora_meta.finetuning.data.options import DataOptions
from autolora_meta.finetuning.data.part import Part
from autolora_meta.finetuning.data.roles import Role

Parts = Mapping[str, Part]
Say = Callable[[str], None]
OTHER = "other"
_SHOWN = 20  # classes in a line, at most


def numbered(
    parts: Parts,
    column: str,
    trained: Collection[str],
    options: DataOptions,
    say: Say,
) -> tuple[ClassLabel, dict[str, list[int | None]]]:
    """Names of the classes, and the class of each row; None: a row that is left out.

    White space around names is stripped. Names and numbers are as the source has them, where it
    has both; else the names are sorted.

    Args:
        parts: splits of the source, all rows labelled.
        column: of the labels.
        trained: the splits that rows to train on are cut from.
        options: `classes` has other names for some; where `rare` ones are not refused, a class may
            stand in test rows alone.
        say: told of names that look alike, and how many rows were left out.

    Raises:
        InputError: a label is no name and no whole number, there is one class only, or a class
            stands in test rows alone.
    """
    declared, renamed = declared_names(parts, column), options.classes
    spelled = {split: _spelled(part, column, declared) for split, part in parts.items()}
    found = {name for names in spelled.values() for name in names}
    for name in renamed:
        if name not in found:
            raise InputError(f"data.classes: {unknown('class', name, found)}")
    named = {split: [renamed.get(n, n) for n in names] for split, names in spelled.items()}
    for name, other in renamed.items():
        if other is None:
            rows = sum(names.count(name) for names in spelled.values())
            say(f"data.classes: {rows} rows of class '{name}' dropped")
    kept = {name for names in named.values() for name in names if name is not None}
    _say_alike(kept, say)
    refuse_lone(kept, column)
    if options.rare == "refuse":
        _refuse_unseen(parts, named, column, trained)
    if declared:
        order = list(dict.fromkeys(n for n in (renamed.get(n, n) for n in declared) if n))
    else:
        order = _ordered(kept)
    number = {name: i for i, name in enumerate(order)}
    return ClassLabel(names=order), {
        split: [None if name is None else number[name] for name in names]
        for split, names in named.items()
    }


def declared_names(parts: Parts, column: str) -> list[str]:
    """The names that the source gives to its classes or tags; none where it has no such names.

    Raises:
        InputError: splits have different ones.
    """
    found: dict[str, tuple[str, ...]] = {}
    for split, part in parts.items():
        feature = part.rows.features[column]
        inner = getattr(feature, "feature", feature)
        found[split] = tuple(inner.names or ()) if isinstance(inner, ClassLabel) else ()
    if len(set(found.values())) > 1:
        shown = "; ".join(
            f"{split}: {', '.join(names[:8]) or 'none'}" for split, names in found.items()
        )
        raise InputError(
            f"column '{column}' has other names of classes in one split than in another ({shown}); "
            "cast them alike (Dataset.cast_column)"
        )
    return list(next(iter(found.values())))


def without_rare(
    pool: Dataset,
    test: Dataset | None,
    label: str,
    present: Collection[int],
    least: int,
    how: Literal["refuse", "drop", "merge"],
    say: Say,
) -> tuple[Dataset, Dataset | None]:
    """The rows without classes that have too few, or with these made one.

    Args:
        pool: the rows to cut from, each content once.
        test: the source's own test rows.
        label: our column of the class.
        present: classes that had rows before repeats were dropped.
        least: rows that a class needs in `pool`.
        how: what is done with a class that has fewer.
        say: told which.

    Raises:
        InputError: there are such classes and they are to be refused, or too little is left.
    """
    names = pool.features[label].names
    counts = Counter(pool[label])
    rare = sorted(c for c in present if counts[c] < least)
    if not rare:
        return pool, test
    shown = ", ".join(f"{names[c]} ({counts[c]})" for c in rare)
    if how == "refuse":
        raise InputError(
            f"classes with fewer than {least} rows (data.rare_below): {shown}; give more rows of "
            "them, or set data.rare: drop or data.rare: merge"
        )
    what = "dropped" if how == "drop" else f"made one class, '{OTHER}'"
    say(f"classes with fewer than {least} rows {what}: {shown}")
    of = {c: OTHER if c in rare else name for c, name in enumerate(names)}
    order = [name for c, name in enumerate(names) if c not in rare]
    if how == "merge":
        order = [*(name for name in order if name != OTHER), OTHER]
        if (rows := sum(n for c, n in counts.items() if of[c] == OTHER)) < least:
            raise InputError(
                f"data.rare: merge gives class '{OTHER}' {rows} rows ({shown}), and it needs "
                f"{least}; choose data.rare: drop, or name the class that takes it in: "
                f'data.classes: {{"{names[rare[0]]}": "another"}}'
            )
    refuse_lone(order, label)
    number = {name: i for i, name in enumerate(order)}
    dropped = set(rare) if how == "drop" else set()

    def changed(rows: Dataset) -> Dataset:
        features = Features({**rows.features, label: ClassLabel(names=order)})
        kept = [i for i, c in enumerate(rows[label]) if c not in dropped]
        table: pa.Table = rows.select(kept).with_format("arrow")[:]  # type: ignore[assignment]
        new = pa.array([number[of[c]] for c in table[label].to_pylist()], pa.int64())
        table = table.set_column(table.column_names.index(label), label, new)
        return Dataset(table, info=DatasetInfo(features=features))

    return changed(pool), None if test is None else changed(test)


def refuse_lost(before: Dataset, after: Dataset, label: str) -> None:
    """Refuse rows that lost a whole class where repeats, or rows of the test split, were dropped.

    Raises:
        InputError: they did.
    """
    lost = sorted(set(before[label]) - set(after[label]))
    if lost:
        names = [before.features[label].names[c] for c in lost]
        raise InputError(
            f"class {some(names)} has no rows left: all of them repeat rows of other classes or "
            "of the test rows; mend their labels, leave the class out (data.classes: "
            f"{{{names[0]}: null}}), or keep repeats (data.overlap: allow)"
        )


def counts(rows: Mapping[str, Dataset], roles: Sequence[Role]) -> dict[str, dict[str, int]]:
    """Rows of each class in each split, or words with each tag; empty where there are no classes.

    Args:
        rows: splits with our columns.
        roles: what the task reads.
    """
    role = next((role for role in roles if role.kind in ("class", "tags")), None)
    if role is None:
        return {}
    found: dict[str, dict[str, int]] = defaultdict(dict)
    for split, part in rows.items():
        feature: Any = part.features[role.name]
        names = getattr(feature, "feature", feature).names
        values: Iterable[Any] = part[role.name]
        if role.kind == "tags":
            values = (tag for row in values for tag in row)
        number = Counter(values)
        for c, name in enumerate(names):
            found[name][split] = number[c]
    return dict(found)


def counts_words(
    found: Mapping[str, Mapping[str, int]], what: str = "classes, rows of each"
) -> str:
    """What `counts` gives, in a line.

    >>> counts_words({"no": {"train": 4, "test": 2}, "yes": {"train": 3, "test": 0}})
    '2 classes, rows of each (train, test): no 4, 2; yes 3, 0'
    """
    splits = next(iter(found.values()))
    shown = [f"{name} {', '.join(str(n) for n in of.values())}" for name, of in found.items()]
    rest = f"; and {len(shown) - _SHOWN} more" if len(shown) > _SHOWN else ""
    return f"{len(found)} {what} ({', '.join(splits)}): {'; '.join(shown[:_SHOWN])}{rest}"


def refuse_lone(found: Collection[object], column: str) -> None:
    """Refuse labels that are all the same.

    Raises:
        InputError: they are.
    """
    if len(found) < 2:
        one = f"one class only ('{next(iter(found))}')" if found else "no labelled rows"
        raise InputError(f"column '{column}' has {one}; a classifier needs two or more")


def _spelled(part: Part, column: str, declared: list[str]) -> list[str]:
    """The name of each row's class."""
    if declared:
        return [declared[value] for value in part.rows[column]]
    names = []
    for i, value in enumerate(part.rows[column]):
        if isinstance(value, list | dict | bytes) or _fraction(value):
            raise InputError(
                f"{part.place(i)}: column '{column}' holds {value!r}, not classes; allowed are "
                "names or whole numbers (task.type: regression learns real numbers)"
            )
        names.append(str(int(value)) if isinstance(value, float) else str(value).strip())
    return names


def _fraction(value: object) -> bool:
    """Whether it is a number, or written as one, and not a whole one."""
    try:
        number = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return False
    return not number.is_integer() and (isinstance(value, float) or number - number == 0)


def _ordered(names: Iterable[str]) -> list[str]:
    """Numbers by their size, "2" before "10"; other names by the alphabet."""
    try:
        return sorted(names, key=lambda name: (float(name), name))
    except ValueError:
        return sorted(names)


def _say_alike(names: Iterable[str], say: Say) -> None:
    """Name classes that differ by case, white space or the way a number is written only."""
    alike: dict[object, list[str]] = defaultdict(list)
    for name in sorted(names):
        try:
            key: object = float(name)
        except ValueError:
            key = " ".join(unicodedata.normalize("NFKC", name).casefold().split())
        alike[key].append(name)
    for group in alike.values():
        if len(group) > 1:
            shown = ", ".join(f"'{name}'" for name in group)
            one = ", ".join(f'"{name}": "{group[-1]}"' for name in group[:-1])
            say(
                f"warning: {shown} are {len(group)} classes that look like one; if they are one, "
                f"say so: data.classes: {{{one}}}"
            )


def _refuse_unseen(
    parts: Parts, named: Mapping[str, list], column: str, trained: Collection[str]
) -> None:
    seen = {name for split in trained for name in named[split]}
    for split, names in named.items():
        for i, name in enumerate(names):
            if name not in seen and name is not None:
                raise InputError(
                    f"{parts[split].place(i)}: the class '{name}' of column '{column}' is in none "
                    f"of the rows to train on ({some(seen - {None})} are); give rows of it, or "
                    f'leave it out: data.classes: {{"{name}": null}}'
                )


def some(found: Collection[object]) -> str:
    """The first names, and how many more there are."""
    names = sorted(str(value) for value in found)
    return ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")
