"""Rows from JSON: a list of objects, or one on each line; what is broken is said with its line."""

import json
from array import array
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, TextIO

import pyarrow as pa

from autolora_meta.errors import InputError
from autolora_meta.finetuning.data import text_file

BLOCK = 50_000  # rows that are Python objects at one time; the others are Arrow's, far smaller
Lines = Sequence[int] | None


def json_rows(path: Path) -> tuple[pa.Table, Lines]:
    """Rows from one list of objects or from an object on each line, whichever the file holds.

    A key that an object does not have is null there.

    Returns:
        The rows, and the line of each where it has its own.

    Raises:
        InputError: it is no JSON, or something else than objects, or a column holds values of
            several kinds.
    """
    with text_file.opened(path) as file:
        start = next((line.lstrip() for line in file if line.strip()), "")
    if start.startswith("["):
        return _list(path), None
    if path.suffix.lower() == ".json":
        _refuse_single(path)
    return _lines(path)


def _refuse_single(path: Path) -> None:
    """Refuse one object in the place of a list, such as columns or records below a key."""
    with text_file.opened(path) as file:
        try:
            found = json.load(file)
        except json.JSONDecodeError:
            return  # an object on each line
    keys = f" with the keys {', '.join(found)[:80]}" if isinstance(found, dict) else ""
    raise InputError(
        f"{path} is one {type(found).__name__}{keys}; allowed is a list of objects, one a row, or "
        "an object on each line"
    )


def _list(path: Path) -> pa.Table:
    with text_file.opened(path) as file:
        content = file.read()
    try:
        rows = _loads(content)
    except json.JSONDecodeError as error:
        raise InputError(f"{path}, line {error.lineno}: not JSON: {error.msg}") from None
    for i, row in enumerate(rows):
        if not isinstance(row, dict):
            raise InputError(
                f"{path}, row {i + 1} is a {type(row).__name__}; allowed is a list of objects, one "
                "a row"
            )
    return _table(rows, [f"{path}, row {i + 1}" for i in range(len(rows))])


def _lines(path: Path) -> tuple[pa.Table, Lines]:
    lines = array("q")
    blocks: list[pa.Table] = []
    with text_file.opened(path) as file:
        objects = _objects(path, file)
        while block := list(islice(objects, BLOCK)):
            places = [f"{path}, line {line}" for line, _ in block]
            lines.extend(line for line, _ in block)
            blocks.append(_table([row for _, row in block], places))
    # Permissive: a column may be empty, or whole numbers, in one block and not in the next.
    try:
        table = pa.concat_tables(blocks, promote_options="permissive") if blocks else pa.table({})
    except pa.ArrowException as error:
        raise InputError(f"{path}: a column holds values of several kinds: {error}") from None
    return table, lines


def _loads(text: str) -> Any:
    """What JSON says; NaN, which data frames write in it, is null whatever a column holds."""
    return json.loads(text, parse_constant=lambda name: None if name == "NaN" else float(name))


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


def _table(rows: list[dict[str, Any]], places: Sequence[str]) -> pa.Table:
    names = dict.fromkeys(name for row in rows for name in row)
    return pa.table({name: _array(name, [row.get(name) for row in rows], places) for name in names})


def _array(name: str, values: list[Any], places: Sequence[str]) -> pa.Array:
    try:
        return pa.array(values)
    except (pa.ArrowException, OverflowError, UnicodeEncodeError) as error:
        kinds = [type(value) for value in values if value is not None]
        for value, place in zip(values, places, strict=True):
            if value is not None and type(value) is not kinds[0]:
                raise InputError(
                    f"{place}: column '{name}' holds {type(value).__name__} here and "
                    f"{kinds[0].__name__} before; rows cannot be read as a table so"
                ) from None
            try:
                pa.array([value])
            except (pa.ArrowException, OverflowError, UnicodeEncodeError) as reason:
                raise InputError(
                    f"{place}: column '{name}' holds what no table can: {reason}"
                ) from None
        raise InputError(
            f"{places[0]}: column '{name}' cannot be read as a table: {error}"
        ) from None
