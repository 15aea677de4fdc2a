"""Formats: the sets of columns that rows to converse in come in, and which of them a source has.

The names are those of TRL's dataset formats, so that a file that works there works here.
"""

from collections.abc import Sequence

from datasets import Dataset, Value

from autolora_meta.errors import InputError
from autolora_meta.finetuning.data.columns import called
from autolora_meta.finetuning.data.options import DataOptions
from autolora_meta.finetuning.data.part import Parts
from autolora_meta.finetuning.data.roles import Role

Format = tuple[Role, ...]

MESSAGES: Format = (Role("messages", "messages", ("messages",), summary="the messages"),)
SHAREGPT: Format = (
    Role("messages", "messages", ("conversations", "conversation"), summary="the messages"),
)
PROMPT_COMPLETION: Format = (
    Role("prompt", "verbatim", ("prompt",), summary="what is asked"),
    Role("completion", "verbatim", ("completion",), summary="what is answered"),
)
INSTRUCTION: Format = (
    Role("instruction", "verbatim", ("instruction",), summary="what is asked"),
    Role("input", "verbatim", ("input",), required=False, summary="what it is asked about"),
    Role("output", "verbatim", ("output",), summary="what is answered"),
)
_ALL = (MESSAGES, SHAREGPT, PROMPT_COMPLETION, INSTRUCTION)


def format_of(parts: Parts, roles: Sequence[Role], options: DataOptions) -> Format:
    """Return the columns of the source's format: `roles` for plain texts, or one of a chat.

    A column that the person names decides; without one, the columns that are there.

    Args:
        parts: of the source; the columns of the first are looked at.
        roles: of plain texts, which the task reads.
        options: columns that the person names.

    Raises:
        InputError: columns of several formats are named, or there.
    """
    plain = tuple(roles)
    formats = (plain, *_ALL)
    asked = [one for one in formats if any(_named(role, options) for role in one)]
    asked = [one for one in asked if not (one is SHAREGPT and MESSAGES in asked)]
    if len(asked) > 1:
        given = [f"data.{role.name}" for one in asked for role in one if _named(role, options)]
        raise InputError(
            f"{' and '.join(given)} name columns of rows of several formats; name those of one: "
            + "; ".join(map(_words, asked))
        )
    if asked:
        return asked[0]
    rows = next(iter(parts.values())).rows
    found = [one for one in formats if _there(one, rows)]
    if plain in found and PROMPT_COMPLETION in found and _same(plain, rows):
        # Generation reads these two by their names: as lists of messages they are a chat.
        column = called(PROMPT_COMPLETION[0].tried, rows.column_names)
        found.remove(PROMPT_COMPLETION if column and is_text(rows, column) else plain)
    if len(found) > 1:
        choices = "; ".join(_keys(one, rows) for one in found)
        raise InputError(
            f"the columns {', '.join(rows.column_names)} hold rows of {len(found)} formats; say "
            f"which is read: {choices}"
        )
    return found[0] if found else plain


def is_text(rows: Dataset, column: str) -> bool:
    """Return whether a column holds strings, or nothing but null."""
    feature = rows.features[column]
    return isinstance(feature, Value) and feature.dtype in ("string", "large_string", "null")


def _there(one: Format, rows: Dataset) -> bool:
    return all(called(role.tried, rows.column_names) for role in one if role.required)


def _same(plain: Format, rows: Dataset) -> bool:
    """Return whether the task's own roles are found in the columns prompt and completion."""
    found = {called(role.tried, rows.column_names) for role in plain}
    return found == {called(role.tried, rows.column_names) for role in PROMPT_COMPLETION}


def _named(role: Role, options: DataOptions) -> str | None:
    return getattr(options, role.name, None)


def _words(one: Format) -> str:
    return " and ".join(f"data.{role.name}" for role in one if role.required)


def _keys(one: Format, rows: Dataset) -> str:
    role = one[0]
    return f"data.{role.name}={called(role.tried, rows.column_names)}"
