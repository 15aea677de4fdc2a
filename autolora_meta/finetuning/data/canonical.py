"""From a source's own columns to ours: named as the task's roles, of one type, without gaps."""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from datasets import Dataset, Features, List, Value, concatenate_datasets

from autolora_meta.errors import InputError
from autolora_meta.finetuning.data import classes, labels, pictures
from autolora_meta.finetuning.data.columns import GROUP
from autolora_meta.finetuning.data.options import DataOptions
from autolora_meta.finetuning.data.part import PLACE, Part, values
from autolora_meta.finetuning.data.roles import Role

Parts = Mapping[str, Part]
Shown = tuple[Dataset, list[bool]]  # pictures, and whether each row has one


def canonical(
    parts: Parts,
    chosen: Mapping[str, str],
    roles: Sequence[Role],
    trained: Collection[str],
    options: DataOptions,
    say: Callable[[str], None],
) -> dict[str, Dataset]:
    """Every split with the columns of the roles, `group` where one was chosen, and PLACE.

    Rows whose text is empty are dropped, and said. A row with several references becomes as many
    rows.

    Args:
        parts: splits of the source, all of them labelled.
        chosen: the source's column for each role, and for `group`.
        roles: what the task reads.
        trained: the splits that rows to train on are cut from.
        options: other names of classes.
        say: told what was dropped.

    Raises:
        InputError: a value is not what its role holds, or no row is left.
    """
    columns: dict[str, dict[str, list]] = {split: {} for split in parts}
    shown: Mapping[str, Shown] = {}
    features: dict[str, Any] = {}
    read = [role for role in roles if role.name in chosen]
    by_kind = {role.kind: role for role in read}
    for role in read:
        column = chosen[role.name]
        found: Mapping[str, list] = {}
        if role.kind == "text":
            features[role.name] = Value("string")
            found = {split: _texts(part, column) for split, part in parts.items()}
        elif role.kind == "references":
            features[role.name] = Value("string")
            found = {split: _references(part, column) for split, part in parts.items()}
        elif role.kind == "image":
            shown = pictures.shown(parts, column, say)
        elif role.kind == "class":
            features[role.name], found = classes.numbered(parts, column, trained, options, say)
        elif role.kind == "number":
            features[role.name], found = Value("float64"), labels.numbers(parts, column)
        elif role.kind == "tags":
            words = by_kind["tokens"].name
            names, tokens, found = labels.tagged(parts, (chosen[words], column), trained, say)
            features |= {words: List(Value("string")), role.name: List(names)}
            for split in parts:
                columns[split][words] = tokens[split]
        for split in found:
            columns[split][role.name] = found[split]
    if GROUP in chosen:
        features[GROUP] = Value("string")
        for split, part in parts.items():
            groups = values(part.rows, chosen[GROUP])
            columns[split][GROUP] = [None if v is None else str(v) for v in groups]
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
    say: Callable[[str], None],
) -> Dataset:
    """One split, without the rows that lack something to read."""
    needed = [columns[r.name] for r in roles if r.kind in ("text", "tokens", "references")]
    there = [True] * len(part.rows) if shown is None else shown[1]
    full = [all((here, *values)) for here, *values in zip(there, *needed, strict=True)]
    classed = [columns[r.name] for r in roles if r.kind == "class"]
    out = {i for of_rows in classed for i, number in enumerate(of_rows) if number is None}
    kept = [i for i, whole in enumerate(full) if whole and i not in out]
    what = "picture" if shown else "text"
    if not all(full):
        say(
            f"split {part.name}: {full.count(False)} rows with an empty {what} dropped, the first "
            f"is {part.place(full.index(False))}"
        )
    if not kept:
        named = " and ".join(f"'{chosen[r.name]}'" for r in roles if r.name in chosen)
        raise InputError(f"no row of split '{part.name}' has a {what} in {named}")
    target = next((role.name for role in roles if role.kind == "references"), None)
    if target is not None:
        written = [text for i in kept for text in columns[target][i]]
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


def _references(part: Part, column: str) -> list[list[str]]:
    """What each row says, as a list; empty texts left out."""
    if not labels.is_list(part.rows.features[column]):
        return [[text] if text else [] for text in _texts(part, column)]
    lists = [[str(text).strip() for text in row or () if text] for row in values(part.rows, column)]
    return [[text for text in row if text] for row in lists]
