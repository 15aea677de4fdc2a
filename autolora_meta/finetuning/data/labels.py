"""From a source's labels to what a head learns: real numbers and tags (`classes` has classes)."""

import math
from collections.abc import Callable, Collection, Mapping
from typing import Any

from datasets import ClassLabel, List

from autolora_meta.errors import InputError
from autolora_meta.finetuning.data import tags
from autolora_meta.finetuning.data.classes import declared_names, refuse_lone, say_alike, some
from autolora_meta.finetuning.data.part import Part, values

Parts = Mapping[str, Part]


def numbers(parts: Parts, column: str) -> dict[str, list[float]]:
    """The real number of each row.

    Raises:
        InputError: a row has none, or something else.
    """
    found = {split: values(part.rows, column) for split, part in parts.items()}
    for split, i, value in _each(found):
        try:
            found[split][i] = float(value)
        except (TypeError, ValueError):
            found[split][i] = math.nan
        if not math.isfinite(found[split][i]):
            raise InputError(
                f"{parts[split].place(i)}: column '{column}' holds {value!r}, not a number; mend "
                "the row or take it out"
            )
    return found


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
    names = declared_names(parts, columns[1])
    for split, part in parts.items():
        tokens[split] = [
            _strings(part, i, columns[0], v) for i, v in enumerate(values(part.rows, columns[0]))
        ]
        found[split] = [
            [t.strip() for t in _strings(part, i, columns[1], _named(names, row) if names else row)]
            for i, row in enumerate(values(part.rows, columns[1]))
        ]
        for i, (words, marks) in enumerate(zip(tokens[split], found[split], strict=True)):
            if len(words) != len(marks):
                raise InputError(
                    f"{part.place(i)}: {len(words)} in '{columns[0]}' and {len(marks)} in "
                    f"'{columns[1]}'; each token needs one tag"
                )

    found = tags.uniform(found, lambda split, i, token: parts[split].place(i, token), say)
    used = {tag for rows in found.values() for row in rows for tag in row}
    say_alike(used, "tags", say)
    _refuse_unseen_kinds(parts, found, columns[1], trained)
    if not names or not used <= set(names):  # names of our own, or changed by another scheme
        names = tags.ordered(used)
    names = list(dict.fromkeys(names))
    refuse_lone(used, columns[1])
    number = {tag: i for i, tag in enumerate(names)}
    numbered = {
        split: [[number[tag] for tag in row] for row in rows] for split, rows in found.items()
    }
    return ClassLabel(names=names), tokens, numbered


def is_list(feature: Any) -> bool:
    """Whether a column holds lists."""
    return isinstance(feature, List | list)


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


def _refuse_unseen_kinds(
    parts: Parts, found: Mapping[str, tags.Tags], column: str, trained: Collection[str]
) -> None:
    seen = {tags.kind(tag) for split in trained for row in found[split] for tag in row}
    for split, i, row in _each(dict(found)):  # type: ignore[arg-type]
        for token, tag in enumerate(row):
            if tags.kind(tag) not in seen:
                raise InputError(
                    f"{parts[split].place(i, token)}: the tag {tag} of column '{column}' is of a "
                    f"kind that is in none of the rows to train on ({some(seen)} are); give rows "
                    "of it, or take it out"
                )
