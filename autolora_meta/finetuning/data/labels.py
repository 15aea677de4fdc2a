"""From a source's labels to what a head learns: numbers of classes, real numbers, tags."""

import math
from collections.abc import Callable, Collection, Mapping
from typing import Any

from datasets import ClassLabel, List

from autolora_meta.errors import InputError
from autolora_meta.finetuning.data import tags
from autolora_meta.finetuning.data.part import Part

Parts = Mapping[str, Part]
MISSING = (None, "")
UNLABELLED = (*MISSING, -1)  # what GLUE writes in the place of every test label


def without_any(part: Part, column: str) -> bool:
    """Whether no row of a split has a label, as in the test splits of benchmarks."""
    return all(
        value in UNLABELLED
        or (isinstance(value, list) and all(inner in UNLABELLED for inner in value))
        for value in part.rows[column]
    )


def classes(
    parts: Parts, column: str, trained: Collection[str]
) -> tuple[ClassLabel, dict[str, list[int]]]:
    """Names of the classes, and the class of each row.

    Names and numbers are as the source has them, where it has both; else the values are sorted.

    Args:
        parts: splits of the source, all of them labelled.
        column: of the labels.
        trained: the splits that rows to train on are cut from.

    Raises:
        InputError: a row has no label, labels are real numbers, there is one class only, or a class
            stands in test rows alone.
    """
    values = {split: list(part.rows[column]) for split, part in parts.items()}
    declared = _declared(parts, column)
    # Where classes have no names, -1 may be one, beside 1.
    _refuse_missing(parts, values, column, UNLABELLED if declared else MISSING)
    if declared:
        named = {split: _named(declared, rows) for split, rows in values.items()}
        _refuse_lone({value for rows in named.values() for value in rows}, column)
        _refuse_unseen(parts, named, column, trained)
        return ClassLabel(names=declared), values
    for split, i, value in _each(values):
        if isinstance(value, list | dict) or _fraction(value):
            raise InputError(
                f"{parts[split].place(i)}: column '{column}' holds {value!r}, not classes; allowed "
                "are names or whole numbers (task.type: regression learns real numbers)"
            )
    _refuse_lone({value for rows in values.values() for value in rows}, column)
    _refuse_unseen(parts, values, column, trained)
    found = {value for rows in values.values() for value in rows}
    try:  # "2" before "10"
        order = sorted(found, key=float)
    except (TypeError, ValueError):
        order = sorted(found, key=str)
    names = [f"{value:g}" if isinstance(value, float) else str(value) for value in order]
    number = {value: i for i, value in enumerate(order)}
    return ClassLabel(names=names), {
        split: [number[value] for value in rows] for split, rows in values.items()
    }


def numbers(parts: Parts, column: str) -> dict[str, list[float]]:
    """The real number of each row.

    Raises:
        InputError: a row has none, or something else.
    """
    values = {split: list(part.rows[column]) for split, part in parts.items()}
    for split, i, value in _each(values):
        try:
            values[split][i] = float(value)
        except (TypeError, ValueError):
            values[split][i] = math.nan
        if not math.isfinite(values[split][i]):
            raise InputError(
                f"{parts[split].place(i)}: column '{column}' holds {value!r}, not a number; mend "
                "the row or take it out"
            )
    return values


def tagged(
    parts: Parts,
    columns: tuple[str, str],
    trained: Collection[str],
    say: Callable[[str], None],
) -> tuple[ClassLabel, dict[str, list[list[str]]], dict[str, list[list[int]]]]:
    """Names of the tags, and tokens and tags of each row.

    Args:
        parts: splits of the source, all of them labelled.
        columns: of tokens and of tags.
        trained: the splits that rows to train on are cut from.
        say: told which scheme the tags follow.

    Raises:
        InputError: a row does not hold lists of one length, a tag is impossible where it stands,
            or a kind of entity stands in test rows alone.
    """
    tokens: dict[str, list[list[str]]] = {}
    found: dict[str, list[list[str]]] = {}
    names = _declared(parts, columns[1])
    for split, part in parts.items():
        tokens[split] = [
            _strings(part, i, columns[0], v) for i, v in enumerate(part.rows[columns[0]])
        ]
        found[split] = [
            _strings(part, i, columns[1], _named(names, row) if names else row)
            for i, row in enumerate(part.rows[columns[1]])
        ]
        for i, (words, marks) in enumerate(zip(tokens[split], found[split], strict=True)):
            if len(words) != len(marks):
                raise InputError(
                    f"{part.place(i)}: {len(words)} in '{columns[0]}' and {len(marks)} in "
                    f"'{columns[1]}'; each token needs one tag"
                )

    found = tags.uniform(found, lambda split, i, token: parts[split].place(i, token), say)
    used = {tag for rows in found.values() for row in rows for tag in row}
    _refuse_unseen_kinds(parts, found, columns[1], trained)
    if not names or not used <= set(names):  # names of our own, or changed by another scheme
        names = tags.ordered(used)
    _refuse_lone(used, columns[1])
    number = {tag: i for i, tag in enumerate(names)}
    numbered = {
        split: [[number[tag] for tag in row] for row in rows] for split, rows in found.items()
    }
    return ClassLabel(names=names), tokens, numbered


def is_list(feature: Any) -> bool:
    """Whether a column holds lists."""
    return isinstance(feature, List | list)


def _declared(parts: Parts, column: str) -> list[str]:
    """The names that the source gives to its classes or tags; none where it has no such names."""
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


def _named(names: list[str], tags_of_row: list[int] | None) -> list[str | None]:
    """Names of the tags of a row; None for a number that has none, such as -100."""
    return [names[tag] if 0 <= tag < len(names) else None for tag in tags_of_row or ()]


def _strings(part: Part, row: int, column: str, value: Any) -> list[str]:
    if not isinstance(value, list) or not all(str("" if v is None else v).strip() for v in value):
        raise InputError(
            f"{part.place(row)}: column '{column}' holds {str(value)[:60]!r}; allowed is a list "
            "with a word, or a tag, in each place (a CoNLL file has one on each line)"
        )
    return [str(inner) for inner in value]


def _each(values: Mapping[str, list]) -> list[tuple[str, int, Any]]:
    return [(split, i, value) for split, rows in values.items() for i, value in enumerate(rows)]


def _fraction(value: object) -> bool:
    """Whether it is a number, or written as one, and not a whole one."""
    try:
        number = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return False
    return math.isfinite(number) and not number.is_integer()


def _refuse_missing(
    parts: Parts, values: Mapping[str, list], column: str, absent: tuple[object, ...]
) -> None:
    for split, rows in values.items():
        missing = [i for i, value in enumerate(rows) if value in absent]
        if missing:
            raise InputError(
                f"split '{split}' has {len(missing)} rows without a '{column}', the first is "
                f"{parts[split].place(missing[0])}; label them or take them out"
            )


def _refuse_lone(found: Collection[object], column: str) -> None:
    if len(found) < 2:
        one = f"one class only ('{next(iter(found))}')" if found else "no labelled rows"
        raise InputError(f"column '{column}' has {one}; a classifier needs two or more")


def _refuse_unseen(
    parts: Parts, values: Mapping[str, list], column: str, trained: Collection[str]
) -> None:
    seen = {value for split in trained for value in values[split]}
    for split, i, value in _each(values):
        if value not in seen:
            raise InputError(
                f"{parts[split].place(i)}: the class '{value}' of column '{column}' is in none of "
                f"the rows to train on ({_some(seen)} are); give rows of it, or take it out"
            )


def _refuse_unseen_kinds(
    parts: Parts, found: Mapping[str, tags.Tags], column: str, trained: Collection[str]
) -> None:
    seen = {tags.kind(tag) for split in trained for row in found[split] for tag in row}
    for split, i, row in _each(dict(found)):  # type: ignore[arg-type]
        for token, tag in enumerate(row):
            if tags.kind(tag) not in seen:
                raise InputError(
                    f"{parts[split].place(i, token)}: the tag {tag} of column '{column}' is of a "
                    f"kind that is in none of the rows to train on ({_some(seen)} are); give rows "
                    "of it, or take it out"
                )


def _some(found: Collection[object]) -> str:
    names = sorted(str(value) for value in found)
    return ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")
