"""Rows of JSON: a list of objects, or an object on each line.

`datasets` guesses the types of a column from its first block and names no line of a file that is
broken, so the standard library reads it.
"""

import json
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TextIO

import pyarrow as pa

from autolora_meta.errors import InputError
from autolora_meta.finetuning.data import text_file
from autolora_meta.finetuning.data.text_file import Read


def read(path: Path) -> Read:
    """Return the rows of a file, with the line of each where it has its own.

    A key that an object does not have is null there.

    Raises:
        InputError: the file is no JSON, holds something else than objects, or a column holds
            values of several kinds.
    """
    with text_file.opened(path) as file:
        start = next((line.lstrip() for line in file if line.strip()), "")
    listed = start.startswith("[")
    if listed or path.suffix.lower() == ".json":
        with text_file.opened(path) as file:
            content = file.read()
        try:
            return _listed(path, _loads(content)), None
        except json.JSONDecodeError as error:
            if listed:
                raise InputError(f"{path}, line {error.lineno}: not JSON: {error.msg}") from None
    try:
        with text_file.opened(path) as file:
            return text_file.in_blocks(_objects(path, file), partial(_table, f"{path}, line"))
    except pa.ArrowException as error:
        raise InputError(f"{path}: a column holds values of several kinds: {error}") from None


def _loads(text: str) -> Any:
    """Parse JSON; NaN, which data frames write in it, is null whatever a column holds."""
    try:
        return json.loads(text, parse_constant=lambda name: None if name == "NaN" else float(name))
    except json.JSONDecodeError:
        raise
    except ValueError:
        raise ValueError("it holds a number of more than 4,300 digits") from None


def _listed(path: Path, found: Any) -> pa.Table:
    if not isinstance(found, list):
        keys = f" with the keys {', '.join(found)[:80]}" if isinstance(found, dict) else ""
        raise InputError(
            f"{path} is one {type(found).__name__}{keys}; allowed is a list of objects, one a row, "
            "or an object on each line"
        )
    for number, row in enumerate(found, start=1):
        if not isinstance(row, dict):
            raise InputError(
                f"{path}, row {number} is a {type(row).__name__}; allowed is a list of objects, "
                "one a row"
            )
    return _table(f"{path}, row", range(1, len(found) + 1), found)


def _objects(path: Path, file: TextIO) -> Iterator[tuple[int, dict[str, Any]]]:
    for number, line in enumerate(file, start=1):
        if not line.strip():
            continue
        try:
            row = _loads(line)
        except json.JSONDecodeError as error:
            raise InputError(f"{path}, line {number}: not JSON: {error.msg}") from None
        if not isinstance(row, dict):
            raise InputError(f"{path}, line {number}: allowed is one object a line")
        yield number, row


def _table(where: str, numbers: Sequence[int], rows: Sequence[dict[str, Any]]) -> pa.Table:
    names = dict.fromkeys(name for row in rows for name in row)
    text_file.refuse_wide(where.rpartition(",")[0], len(names))
    return pa.table(
        {name: _array(name, [row.get(name) for row in rows], where, numbers) for name in names}
    )


def _array(name: str, values: list[Any], where: str, numbers: Sequence[int]) -> pa.Array:
    bad = (pa.ArrowException, OverflowError, UnicodeEncodeError)
    try:
        return pa.array(values)
    except bad as error:
        first = next(type(value) for value in values if value is not None)
        for value, number in zip(values, numbers, strict=True):
            if value is not None and type(value) is not first:
                raise InputError(
                    f"{where} {number}: column '{name}' holds {type(value).__name__} here and "
                    f"{first.__name__} before; rows cannot be read as a table so"
                ) from None
            try:
                pa.array([value])
            except bad as reason:
                raise InputError(
                    f"{where} {number}: column '{name}' holds what no table can: {reason}"
                ) from None
        raise InputError(
            f"{where} {numbers[0]}: column '{name}' cannot be read as a table: {error}"
        ) from None
