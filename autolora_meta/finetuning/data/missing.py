"""Values that are not there: an empty label, a text that is null; refused or dropped."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Literal

from datasets import ClassLabel

from autolora_meta.errors import InputError
from autolora_meta.finetuning.data.part import Part, values
from autolora_meta.finetuning.data.roles import Kind, Role

_WRITTEN = ("", "nan", "<na>")  # what an empty cell of a data frame becomes as text
_WORDS = ("nan", "NaN", "<NA>", "None", "null", "NULL")  # a whole text of this may be one


def without(
    parts: Mapping[str, Part],
    chosen: Mapping[str, str],
    roles: Sequence[Role],
    how: Literal["refuse", "drop"],
    say: Callable[[str], None],
) -> dict[str, Part]:
    """The splits without rows whose label or text is missing.

    Args:
        parts: splits of the source.
        chosen: the source's column for each role.
        roles: what the task reads.
        how: what is done with such rows.
        say: told how many were dropped, where they stood, and of texts that may be none.

    Raises:
        InputError: there are some and they are to be refused.
    """
    found = dict(parts)
    for role in roles:
        column = chosen.get(role.name)
        if column is None or role.kind in ("image", "tokens"):
            continue
        for split, part in found.items():
            named = isinstance(part.rows.features[column], ClassLabel)
            column_values = values(part.rows, column)
            gone = [i for i, value in enumerate(column_values) if _missing(value, role.kind, named)]
            if role.kind == "text":
                _say_words(part, column, column_values, say)
            if not gone:
                continue
            stands = f"split '{split}' has {len(gone)} rows without a '{column}'"
            if how == "refuse":
                raise InputError(
                    f"{stands}: {part.places(gone)}; mend them, or set data.missing: drop to leave "
                    "them out"
                )
            say(f"{stands}, which are dropped: {part.places(gone)}")
            found[split] = part.only(sorted({*range(len(column_values))} - {*gone}))
    return found


def _say_words(part: Part, column: str, texts: Sequence[object], say: Callable) -> None:
    found = [i for i, text in enumerate(texts) if isinstance(text, str) and text.strip() in _WORDS]
    if found:
        say(
            f"warning: {len(found)} rows of split '{part.name}' have a '{column}' such as "
            f"'{texts[found[0]]}', which is read as a text: {part.places(found)}"
        )


def unlabelled(part: Part, column: str) -> bool:
    """Whether no row of a split has a label, as in the test splits of benchmarks.

    GLUE writes -1 in the place of every test label.
    """
    return all(
        all(inner == -1 or no_label(inner) for inner in value)
        if isinstance(value, list)
        else value == -1 or no_label(value)
        for value in values(part.rows, column)
    )


def no_label(value: object) -> bool:
    """Whether a label is null, NaN, or a field that is empty or says so.

    >>> no_label(" NaN "), no_label(float("nan")), no_label("none")
    (True, True, False)
    """
    if isinstance(value, str):
        return value.strip().lower() in _WRITTEN
    return value is None or (isinstance(value, float) and math.isnan(value))


def _missing(value: object, kind: Kind, named: bool) -> bool:
    if kind in ("class", "number"):
        # Where classes have no names, -1 may be one, beside 1.
        return no_label(value) or (named and value == -1)
    if kind == "tags":
        return value is None
    return value is None or (isinstance(value, float) and math.isnan(value))
