"""From a source's own columns to ours: named as the task's roles, of one type, without gaps."""

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from datasets import Dataset, Features, List, Value, concatenate_datasets

from autolora_meta.errors import InputError
from autolora_meta.finetuning.data import classes, pictures, tags
from autolora_meta.finetuning.data.columns import GROUP
from autolora_meta.finetuning.data.options import DataOptions
from autolora_meta.finetuning.data.part import PLACE, Part, Parts, values
from autolora_meta.finetuning.data.pictures import Shown
from autolora_meta.finetuning.data.roles import Role
from autolora_meta.foundation.progress import Say


def canonical(
    parts: Parts,
    chosen: Mapping[str, str],
    roles: Sequence[Role],
    trained: Collection[str],
    options: DataOptions,
    say: Say,
) -> dict[str, Dataset]:
    """Return every split with the columns of the roles, `group` where one was chosen, and PLACE.

    Rows whose text is empty are dropped, and said. A row with several references becomes as many
    rows.

    Args:
        parts: splits of the source, all of them labelled.
        chosen: the source's column for each role, and for `group`.
        trained: the splits that rows to train on are cut from.

    Raises:
        InputError: a value is not what its role holds, or no row is left.
    """
    columns: dict[str, dict[str, list]] = {split: {} for split in parts}
    features: dict[str, Any] = {}
    shown: Mapping[str, Shown] = {}
    read = [role for role in roles if role.name in chosen]

    def add(name: str, feature: Any, found: Mapping[str, list]) -> None:
        features[name] = feature
        for split, column in found.items():
            columns[split][name] = column

    for role in read:
        column = chosen[role.name]
        if role.kind in _PLAIN:
            feature, cells = _PLAIN[role.kind]
            add(role.name, feature, {split: cells(part, column) for split, part in parts.items()})
        elif role.kind == "image":
            shown = pictures.shown(parts, column, say)
        elif role.kind == "class":
            add(role.name, *classes.numbered(parts, column, trained, options, say))
        elif role.kind == "tags":
            words = next(role.name for role in read if role.kind == "tokens")
            names, tokens, found = tags.numbered(parts, (chosen[words], column), trained, say)
            add(words, List(Value("string")), tokens)
            add(role.name, List(names), found)
    if GROUP in chosen:
        groups = {split: _groups(part, chosen[GROUP]) for split, part in parts.items()}
        add(GROUP, Value("string"), groups)
    return {
        split: _rows(part, chosen, read, columns[split], Features(features), shown.get(split), say)
        for split, part in parts.items()
    }


def _rows(
    part: Part,
    chosen: Mapping[str, str],
    roles: Sequence[Role],
    columns: dict[str, list],
    features: Features,
    shown: Shown | None,
    say: Say,
) -> Dataset:
    """Return one split, without the rows that lack something to read or whose class is left out."""
    needed = [columns[r.name] for r in roles if r.kind in _NEEDED]
    there = [True] * len(part.rows) if shown is None else shown[1]
    full = [all(row) for row in zip(there, *needed, strict=True)]
    what = "text" if shown is None else "picture"
    if not all(full):
        say(
            f"split {part.name}: {full.count(False)} rows with an empty {what} dropped, the first "
            f"is {part.place(full.index(False))}"
        )
    for role in roles:
        if role.kind == "class":
            full = [
                whole and number is not None
                for whole, number in zip(full, columns[role.name], strict=True)
            ]
    kept = [i for i, whole in enumerate(full) if whole]
    if not kept:
        named = " and ".join(f"'{chosen[role.name]}'" for role in roles)
        raise InputError(f"no row of split '{part.name}' has a {what} in {named}")
    target = next((role.name for role in roles if role.kind == "references"), None)
    written = [] if target is None else [text for i in kept for text in columns[target][i]]
    if target is not None:
        kept = [i for i in kept for _ in columns[target][i]]
    taken = {name: [column[i] for i in kept] for name, column in columns.items()}
    taken[PLACE] = [part.place(i) for i in kept]
    if target is not None:
        taken[target] = written
    rows = Dataset.from_dict(taken, features=Features({**features, PLACE: Value("string")}))
    if shown is None:
        return rows
    picture = next(role.name for role in roles if role.kind == "image")
    seen = shown[0].select(kept)
    if (column := chosen[picture]) != picture:
        seen = seen.rename_column(column, picture)
    return concatenate_datasets([seen, rows], axis=1)


def _texts(part: Part, column: str) -> list[str]:
    found = values(part.rows, column)
    for i, value in enumerate(found):
        if isinstance(value, list | dict | bytes):
            raise InputError(
                f"{part.place(i)}: column '{column}' holds a {type(value).__name__}, not a text; "
                "name another column"
            )
    return ["" if value is None else str(value).strip() for value in found]


def _verbatim(part: Part, column: str) -> list[str]:
    """Return the texts as they are; those of white space alone are empty."""
    stripped = _texts(part, column)
    whole = values(part.rows, column)
    return [str(text) if there else "" for text, there in zip(whole, stripped, strict=True)]


def _references(part: Part, column: str) -> list[list[str]]:
    """Return the texts of each row as a list, empty ones left out."""
    if not isinstance(part.rows.features[column], List | list):
        return [[text] if text else [] for text in _texts(part, column)]
    lists = [[str(text).strip() for text in row or () if text] for row in values(part.rows, column)]
    return [[text for text in row if text] for row in lists]


def _numbers(part: Part, column: str) -> list[float]:
    found: list[float] = []
    for i, value in enumerate(values(part.rows, column)):
        try:
            number = float(value)
        except (TypeError, ValueError):
            number = math.nan
        if not math.isfinite(number):
            raise InputError(
                f"{part.place(i)}: column '{column}' holds {value!r}, not a number; mend the row "
                "or take it out"
            )
        found.append(number)
    return found


def _groups(part: Part, column: str) -> list[str | None]:
    return [None if value is None else str(value) for value in values(part.rows, column)]


_NEEDED = ("text", "tokens", "references", "verbatim", "messages")  # rows are dropped without
_PLAIN: dict[str, tuple[Value, Callable[[Part, str], list]]] = {
    "text": (Value("string"), _texts),
    "messages": (Value("string"), _texts),
    "verbatim": (Value("string"), _verbatim),
    "references": (Value("string"), _references),
    "number": (Value("float64"), _numbers),
}
