"""Shift: training rows of one source, validation and test rows of another."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from datasets import ClassLabel, Dataset

from autolora_meta.errors import InputError
from autolora_meta.finetuning.data import missing, sources
from autolora_meta.finetuning.data.assigned import Assigned, named, own_test, refuse_none
from autolora_meta.finetuning.data.chat_rows import read_columns
from autolora_meta.finetuning.data.options import DataOptions, EvaluationOptions
from autolora_meta.finetuning.data.part import Part, Parts, values
from autolora_meta.finetuning.data.roles import Role
from autolora_meta.finetuning.data.sources import Given
from autolora_meta.finetuning.data.split_names import TRAIN, VALIDATION, known
from autolora_meta.foundation.progress import Say

SHIFTED = "training rows come from another source than validation and test rows"  # in what is said
OTHER = "data.evaluation"
_KEYS = ("source", "name", "revision", "splits")


def of_two(
    options: DataOptions,
    other: EvaluationOptions,
    roles: Sequence[Role],
    given: Given | None,
    say: Say,
    *,
    chat: bool = False,
) -> Assigned:
    """Return the split to train on of `data.source`, and the others of `data.evaluation`.

    Of the second source, test rows are the split test or, without one that has labels, validation.
    Validation rows are cut from its split validation or, where that is missing or the test rows,
    from train. Where it has one split both are cut from that. Columns may have other names there,
    where none are given.

    Args:
        options: the first source, and the columns of both.
        other: the second source.
        roles: the columns that the task reads.
        given: rows at hand, read in the place of `options.source`.
        say: told what was chosen.
        chat: whether the task reads conversations too.

    Raises:
        InputError: a source cannot be read, or they do not have the same columns.
    """
    parts = known(sources.read(options, roles, given, say), named(options, given), say)
    if unread := [name for name in parts if name != TRAIN]:
        say(f"splits of data.source not read: {', '.join(unread)} ({OTHER} is set)")
    parts = {name: part for name, part in parts.items() if name == TRAIN}
    refuse_none([*parts], parts, named(options, given))
    parts, chosen, read = read_columns(parts, roles, options, say, chat=chat)
    parts = missing.labelled(parts, chosen, read, say)
    refuse_none([*parts], parts, named(options, given))

    def aside(words: str) -> None:
        say(f"of {OTHER}: {words}")

    with _of_the_other():
        as_first = options.model_copy(update={key: getattr(other, key) for key in _KEYS})
        held = known(sources.read(as_first, roles, None, aside), named(as_first, None), aside)
        held, columns, its = read_columns(held, roles, options, aside, chat=chat)
        held = missing.labelled(held, columns, its, aside)
    if not held:
        raise InputError(f"{OTHER}.source '{other.source}' has no labelled rows")
    if columns.keys() != chosen.keys():
        raise InputError(
            f"data.source has columns for {', '.join(chosen)}, and {OTHER}.source for "
            f"{', '.join(columns)}; both need the same: name them in data, or rename them in one"
        )
    test = own_test(held) if len(held) > 1 else None
    rest = [name for name in held if name != test]
    cut = next((name for name in rest if name in VALIDATION), rest[0])
    if unread := [name for name in rest if name != cut]:
        aside(f"splits not read: {', '.join(unread)}")
    labels = {name: f"{name} of {OTHER}" for name in (cut, test) if name is not None}
    used = {
        label: replace(_as_in_first(held[name], columns, chosen), name=label)
        for name, label in labels.items()
    }
    where = f"test rows are its {test} split, the same for each seed" if test else ""
    where = where or "test rows are cut from the same, anew for each seed"
    said = [
        f"{SHIFTED}: they are the {TRAIN} rows of {named(options, given)}, and validation rows "
        f"are cut from the {cut} rows of {OTHER}.source '{other.source}'; {where}; the retraining "
        "trains on training and validation rows together",
    ]
    return Assigned(
        _by_name({**parts, **used}, read, chosen),
        read,
        chosen,
        [TRAIN],
        labels[test] if test else None,
        [labels[cut]],
        said,
    )


@contextmanager
def _of_the_other() -> Iterator[None]:
    """Let a message name the keys of the second source: who reads it knows those of the first."""
    try:
        yield
    except InputError as error:
        said = str(error)
        for key in _KEYS:
            said = said.replace(f"data.{key}", f"{OTHER}.{key}")
        raise InputError(said if OTHER in said else f"of {OTHER}.source: {said}") from None


def _as_in_first(part: Part, columns: Mapping[str, str], chosen: Mapping[str, str]) -> Part:
    """Return the columns that are read alone, by the names that they have in the first source."""
    new = {column: chosen[role] for role, column in columns.items()}
    rows = part.rows.select_columns([*new])
    return replace(part, rows=rows.rename_columns({k: v for k, v in new.items() if k != v}))


def _by_name(parts: Parts, roles: Sequence[Role], chosen: Mapping[str, str]) -> dict[str, Part]:
    """Return the parts with the names of classes for their numbers where they number otherwise."""
    found = dict(parts)
    for column in [chosen[role.name] for role in roles if role.kind in ("class", "tags")]:
        numbering = {name: _names(part.rows, column) for name, part in found.items()}
        if len(set(numbering.values())) == 1:
            continue
        for name, names in numbering.items():
            if names is not None:
                found[name] = replace(found[name], rows=_spelled(found[name].rows, column, names))
    return found


def _names(rows: Dataset, column: str) -> tuple[str, ...] | None:
    feature: Any = rows.features[column]
    inner = getattr(feature, "feature", feature)
    return tuple(inner.names or ()) if isinstance(inner, ClassLabel) else None


def _spelled(rows: Dataset, column: str, names: Sequence[str]) -> Dataset:
    """Return the rows with the name of each class; of a number without a name there is none."""

    def name(value: Any) -> Any:
        if isinstance(value, list):
            return [name(inner) for inner in value]
        return names[value] if value is not None and 0 <= value < len(names) else None

    spelled = [name(value) for value in values(rows, column)]
    return rows.remove_columns(column).add_column(column, spelled)
