"""Rows from tables in text: csv, tsv, json, jsonl; what is broken is said with its line."""

import csv
import json
from array import array
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa

from autolora_meta.errors import InputError

BLOCK = 50_000  # rows that are Python objects at one time; the others are Arrow's, far smaller
Lines = Sequence[int] | None


def delimited(path: Path, header: bool, delimiter: str, *, quotes: bool) -> tuple[pa.Table, Lines]:
    """Rows of fields, all strings.

    Args:
        path: the file, UTF-8 text.
        header: whether the first line names the columns; else they are called 1, 2, 3, ...
        delimiter: between fields.
        quotes: whether a field in quotes may hold the delimiter and line ends.

    Returns:
        The rows, and the line on which each begins.

    Raises:
        InputError: a line has more or fewer fields than the first, a quote is left open, or a
            column's name stands twice.
    """
    lines = array("q")
    blocks: list[pa.Table] = []
    limit = csv.field_size_limit(2**31 - 1)  # a text may be longer than the module allows
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            quoting = csv.QUOTE_MINIMAL if quotes else csv.QUOTE_NONE
            reader = csv.reader(file, delimiter=delimiter, quoting=quoting, strict=True)
            fields = _fields(path, reader)
            line, first = next(fields, (1, []))
            names = first if header else [str(i + 1) for i in range(len(first))]
            if header:
                _refuse_repeated(path, line, names)
                rest = fields
            else:
                rest = _prepend((line, first), fields)
            while block := list(islice(rest, BLOCK)):
                for line, row in block:
                    if len(row) != len(names):
                        raise InputError(
                            f"{path}, line {line}: {len(row)} fields where the first line has "
                            f"{len(names)} ({_shown(names)}); quote fields that hold the "
                            "delimiter, or mend the line"
                        )
                    lines.append(line)
                columns = zip(*(row for _, row in block), strict=True)
                arrays = [pa.array(column, pa.string()) for column in columns]
                blocks.append(pa.table(dict(zip(names, arrays, strict=True))))
    finally:
        csv.field_size_limit(limit)
    return (pa.concat_tables(blocks) if blocks else pa.table({})), lines


def json_list(path: Path) -> tuple[pa.Table, Lines]:
    """Rows from one list of objects.

    Raises:
        InputError: it is no JSON, no list of objects, or a column holds values of several kinds.
    """
    try:
        rows = json.loads(path.read_text(encoding="utf-8-sig"))
    except json.JSONDecodeError as error:
        raise InputError(f"{path}, line {error.lineno}: not JSON: {error.msg}") from None
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise InputError(f"{path}: allowed is a list of objects, one a row; or use jsonl")
    return _table(rows, [f"{path}, row {i + 1}" for i in range(len(rows))]), None


def json_lines(path: Path) -> tuple[pa.Table, Lines]:
    """Rows from one object a line; a key that a line does not have is null there.

    Raises:
        InputError: a line is no JSON or no object, or a column holds values of several kinds.
    """
    lines = array("q")
    blocks: list[pa.Table] = []
    with open(path, encoding="utf-8-sig") as file:
        objects = _objects(path, file)
        while block := list(islice(objects, BLOCK)):
            places = [f"{path}, line {line}" for line, _ in block]
            lines.extend(line for line, _ in block)
            blocks.append(_table([row for _, row in block], places))
    # Permissive: a column may be empty, or whole numbers, in one block and not in the next.
    table = pa.concat_tables(blocks, promote_options="permissive") if blocks else pa.table({})
    return table, lines


def _fields(path: Path, reader: Any) -> Iterator[tuple[int, list[str]]]:
    """Line and fields of each row; empty lines are passed over."""
    start = 1
    try:
        for row in reader:
            if row:
                yield start, row
            start = reader.line_num + 1
    except csv.Error as error:
        raise InputError(
            f"{path}, line {start}: {error}; is a quote left open in the row that begins there?"
        ) from None


def _prepend(first: Any, rest: Iterator[Any]) -> Iterator[Any]:
    if first[1]:
        yield first
    yield from rest


def _objects(path: Path, file: Any) -> Iterator[tuple[int, dict[str, Any]]]:
    for number, line in enumerate(file, start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
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
    except pa.ArrowException as error:
        kinds = [type(value) for value in values if value is not None]
        for value, place in zip(values, places, strict=True):
            if value is not None and type(value) is not kinds[0]:
                raise InputError(
                    f"{place}: column '{name}' holds {type(value).__name__} here and "
                    f"{kinds[0].__name__} before; rows cannot be read as a table so"
                ) from None
        raise InputError(
            f"{places[0]}: column '{name}' cannot be read as a table: {error}"
        ) from None


def _refuse_repeated(path: Path, line: int, names: list[str]) -> None:
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise InputError(f"{path}, line {line}: column {', '.join(repeated)} stands twice")


def _shown(names: Sequence[str]) -> str:
    return ", ".join(name if len(name) <= 40 else f"{name[:40]}..." for name in names)
