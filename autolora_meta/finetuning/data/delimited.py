"""Rows of csv and tsv files, whatever divides their fields.

`datasets` reads them with pandas, which makes "NA" an empty cell and "007" a number without
a word and names no line of a field too few, so the standard library reads them.
"""

import csv
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import chain, islice
from pathlib import Path
from typing import TextIO

import pyarrow as pa

from autolora_meta.errors import InputError
from autolora_meta.finetuning.data import text_file
from autolora_meta.finetuning.data.text_file import Read
from autolora_meta.foundation.progress import Say

DELIMITERS = {",": "commas", "\t": "tabs", ";": "semicolons", "|": "bars"}
_TOLD = re.compile(r'"?sep=(.)"?')  # the first line that Excel reads and writes
_LOOKED_AT = 50  # lines


def read(path: Path, header: bool, own: str, say: Say) -> Read:
    """Return rows of fields, all strings.

    Fields are divided by what the ending of the file says or, where that divides no line alike, by
    the comma, tab, semicolon or bar that does. A field in quotes may hold that and line ends, but
    where tabs divide a tsv file: there a quote is a character like others.

    Args:
        path: the file.
        header: whether the first line names the columns; else they are called 1, 2, 3, ... A
            name that is empty, or stands several times, becomes that of a numbered column.
        own: what divides the fields of such files.
        say: told what does, if it is something else.

    Raises:
        InputError: a line has more or fewer fields than the first, or a quote is left open.
    """
    limit = csv.field_size_limit(text_file.LONGEST)  # a text may be longer than the module allows
    try:
        delimiter, skipped = _delimiter(path, own)
        if delimiter != own:
            say(f"{path}: fields are divided by {DELIMITERS.get(delimiter, repr(delimiter))}")
        quotes = not own == delimiter == "\t"
        with text_file.opened(path) as file:
            rows = _rows(path, file, delimiter, quotes=quotes)
            rows = (row for row in rows if row[0] > skipped)
            line, first = next(rows, (1, []))
            text_file.refuse_wide(path, len(first))
            names = _names(first) if header else [str(i + 1) for i in range(len(first))]
            if first and not header:
                rows = chain([(line, first)], rows)
            return text_file.in_blocks(rows, partial(_table, path, names, quotes))
    finally:
        csv.field_size_limit(limit)


def _table(
    path: Path,
    names: Sequence[str],
    quotes: bool,
    lines: Sequence[int],
    rows: Sequence[Sequence[str]],
) -> pa.Table:
    if {*map(len, rows)} != {len(names)}:
        line, row = next(at for at in zip(lines, rows, strict=True) if len(at[1]) != len(names))
        shown = ", ".join(name if len(name) <= 40 else f"{name[:40]}..." for name in names)
        mend = "quote fields that hold the delimiter" if quotes else "take tabs out of fields"
        raise InputError(
            f"{path}, line {line}: {len(row)} fields where the first line has {len(names)} "
            f"({shown}); {mend}, or mend the line"
        )
    columns = zip(names, zip(*rows, strict=True), strict=True)
    return pa.table({name: pa.array(column, pa.string()) for name, column in columns})


def _delimiter(path: Path, own: str) -> tuple[str, int]:
    """Return what divides fields, and how many first lines say so and are no rows."""
    with text_file.opened(path) as file:
        sample = list(islice(file, _LOOKED_AT))
    if sample and (told := _TOLD.fullmatch(sample[0].strip())):
        return told[1], 1
    found = {mark: _split(sample, mark, quotes=mark != "\t") for mark in (own, *DELIMITERS)}
    wide = [mark for mark, rows in found.items() if rows and len(rows[0]) > 1]
    alike = [mark for mark in wide if len({len(row) for row in found[mark]}) == 1]
    # A mark that is always followed by a space is one of the text, if another divides too.
    tight = [
        mark for mark in alike if not all(" " in [f[:1] for f in row[1:]] for row in found[mark])
    ]
    best = tight or alike or wide or [own]
    return (own if own in best else max(best, key=lambda mark: len(found[mark][0]))), 0


def _split(sample: Sequence[str], mark: str, *, quotes: bool) -> list[list[str]]:
    """Return the rows of the sample, without the last where it may go on."""
    quoting = csv.QUOTE_MINIMAL if quotes else csv.QUOTE_NONE
    try:
        rows = [row for row in csv.reader(sample, delimiter=mark, quoting=quoting) if row]
    except csv.Error:
        return []
    return rows[:-1] if len(sample) == _LOOKED_AT else rows


def _rows(
    path: Path, file: TextIO, delimiter: str, *, quotes: bool
) -> Iterator[tuple[int, list[str]]]:
    """Yield line and fields of each row; empty lines are passed over."""
    if not quotes:
        for number, line in text_file.numbered(file):
            if line:
                yield number, line.split(delimiter)
        return
    start = 1
    reader = csv.reader(file, delimiter=delimiter, strict=True)
    try:
        for row in reader:
            if row:
                yield start, row
            start = reader.line_num + 1
    except csv.Error as error:
        reason = f"{error}; is a quote left open in the row that begins there?"
        if "new-line" in str(error):
            reason = "a carriage return in a field without quotes; quote the field, or take it out"
        raise InputError(f"{path}, line {start}: {reason}") from None


def _names(first: Sequence[str]) -> list[str]:
    names = [name.strip().strip("\ufeff") for name in first]  # a second mark of UTF-8
    standing = Counter(names)
    return [
        name if name and standing[name] == 1 else f"{name} (column {i + 1})".strip()
        for i, name in enumerate(names)
    ]
