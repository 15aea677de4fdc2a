"""Values that are not there: an empty label, a text that is null; refused or dropped."""

import math
from collections.abc import Mapping, Sequence

from datasets import ClassLabel

from autolora_meta.errors import InputError
from autolora_meta.finetuning.data.options import Missing
from autolora_meta.finetuning.data.part import Part, Parts, values
from autolora_meta.finetuning.data.roles import Role
from autolora_meta.foundation.progress import Say

_LEARNED = ("class", "number", "tags", "references")
_EMPTY = ("", "nan", "<na>")  # what an empty cell of a data frame becomes as text
_WORDS = ("nan", "NaN", "<NA>", "None", "null", "NULL")  # a whole text of this may be one


def labelled(
    parts: Parts, chosen: Mapping[str, str], roles: Sequence[Role], say: Say
) -> dict[str, Part]:
    """Return the splits that have labels, which the test splits of benchmarks have not.

    GLUE writes -1 in the place of every test label.
    """
    kept = dict(parts)
    for split, part in parts.items():
        for role in roles:
            if role.kind not in _LEARNED or not len(part.rows):
                continue
            cells = (
                value if isinstance(value, list) else [value]
                for value in values(part.rows, chosen[role.name])
            )
            if all(label == -1 or _no_label(label) for of_row in cells for label in of_row):
                say(f"split {split} has no labels: left out")
                kept.pop(split, None)
    return kept


def without(
    parts: Parts, chosen: Mapping[str, str], roles: Sequence[Role], how: Missing, say: Say
) -> dict[str, Part]:
    """Return the splits without rows whose label or text is missing.

    How many were dropped is said, where they stood, and which texts may be none.

    Raises:
        InputError: there are some and they are to be refused.
    """
    found = dict(parts)
    for role in roles:
        column = chosen.get(role.name)
        if column is None or role.kind in ("image", "tokens"):
            continue
        for split, part in found.items():
            cells = values(part.rows, column)
            if role.kind == "text":
                _say_words(part, column, cells, say)
            # Where classes have no names, -1 may be one, beside 1.
            named = isinstance(part.rows.features[column], ClassLabel)
            if role.kind in ("class", "number"):
                gone = {i for i, v in enumerate(cells) if _no_label(v) or (named and v == -1)}
            elif role.kind == "tags":
                gone = {i for i, v in enumerate(cells) if v is None}
            else:
                gone = {i for i, v in enumerate(cells) if _null(v)}
            if not gone:
                continue
            where = part.places(sorted(gone))
            stands = f"split '{split}' has {len(gone)} rows without a '{column}'"
            if how == "refuse":
                raise InputError(
                    f"{stands}: {where}; mend them, or set data.missing: drop to leave them out"
                )
            say(f"{stands}, which are dropped: {where}")
            found[split] = part.only([i for i in range(len(cells)) if i not in gone])
    return found


def _say_words(part: Part, column: str, texts: Sequence[object], say: Say) -> None:
    found = [i for i, text in enumerate(texts) if isinstance(text, str) and text.strip() in _WORDS]
    if found:
        say(
            f"warning: {len(found)} rows of split '{part.name}' have a '{column}' such as "
            f"'{texts[found[0]]}', which is read as a text: {part.places(found)}"
        )


def _no_label(value: object) -> bool:
    """Return whether a label is null, NaN, or a field that is empty or says so.

    >>> _no_label(" NaN "), _no_label(float("nan")), _no_label("none")
    (True, True, False)
    """
    return value.strip().lower() in _EMPTY if isinstance(value, str) else _null(value)


def _null(value: object) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))
