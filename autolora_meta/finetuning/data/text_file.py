"""Text files as lines, whatever their encoding: a carriage return inside a line is no line end."""

import codecs
from array import array
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import TextIO, TypeVar

import pyarrow as pa

from autolora_meta.errors import InputError

Read = tuple[pa.Table, Sequence[int] | None]  # rows, and the line on which each begins
T = TypeVar("T")
BLOCK = 50_000  # rows that are Python objects at one time; the others are Arrow's, far smaller
LONGEST = 1 << 22  # bytes of a text: a large book
_WIDEST = 4096  # columns
_MARKS = {  # the longer ones first: one begins as another does
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
_NO_TEXT = {
    b"PK\x03\x04": "an Excel workbook or a zip archive; save it as csv, or unpack it",
    b"\xd0\xcf\x11\xe0": "an Excel workbook; save it as csv",
    b"\x1f\x8b": "compressed; unpack it (gunzip)",
    b"PAR1": "a parquet file; let its name end in .parquet",
    b"%PDF": "a PDF document",
    b"version https://git-lfs": "a pointer of Git LFS; fetch the file (git lfs pull)",
    b"<!doctype html": "a web page; download the file itself",
    b"<html": "a web page; download the file itself",
}
_SAMPLE = 1 << 16  # bytes


@contextmanager
def opened(path: Path) -> Iterator[TextIO]:
    """Open a file whose lines end in a line feed, or in a carriage return where none is there.

    It is UTF-8, or UTF-16 or UTF-32 where it begins or is spaced like that.

    Raises:
        InputError: the file is no text in one of these; the message names the line.
    """
    with path.open("rb") as file:
        start = file.read(_SAMPLE)
    for mark, what in _NO_TEXT.items():
        if start[: len(mark)].lower() == mark.lower():
            raise InputError(f"data.source '{path}' is no text but {what}")
    encoding = next((name for mark, name in _MARKS.items() if start.startswith(mark)), None)
    encoding = encoding or _unmarked(start)
    newline = "\r" if b"\r" in start and not _has_line_feed(path) else "\n"
    try:
        with path.open(encoding=encoding, newline=newline) as text:
            yield text
    except UnicodeDecodeError as error:
        raise InputError(_undecoded(path, encoding, error)) from None


def numbered(file: TextIO) -> Iterator[tuple[int, str]]:
    """Yield the number of each line, from 1, and the line without its end."""
    for number, line in enumerate(file, start=1):
        yield number, line.rstrip("\r\n")


def in_blocks(
    rows: Iterator[tuple[int, T]], table: Callable[[Sequence[int], Sequence[T]], pa.Table]
) -> Read:
    """Return the rows, made into tables block by block, and the line of each.

    Args:
        rows: line and content of each row.
        table: makes a table of the lines and contents of a block.
    """
    lines = array("q")
    blocks: list[pa.Table] = []
    while block := list(islice(rows, BLOCK)):
        numbers = array("q", [number for number, _ in block])
        lines.extend(numbers)
        blocks.append(table(numbers, [content for _, content in block]))
    # Permissive: a column may be empty, or whole numbers, in one block and not in the next.
    return pa.concat_tables(blocks, promote_options="permissive") if blocks else pa.table({}), lines


def refuse_wide(path: Path | str, columns: int) -> None:
    """Refuse a table of more columns than anybody's rows have: it would be read for minutes.

    Raises:
        InputError: it is one.
    """
    if columns > _WIDEST:
        raise InputError(f"{path}: {columns:,} columns; at most {_WIDEST:,} are read")


def _unmarked(start: bytes) -> str:
    """Return UTF-16 where each line feed has the zero byte of its two, else UTF-8.

    Without a line feed it is UTF-16 where every second byte is mostly zero.
    """
    for name, feed, first in (("utf-16-le", b"\n\0", 0), ("utf-16-be", b"\0\n", 1)):
        feeds = [start[i : i + 2] for i in range(0, len(start) - 1, 2)].count(feed)
        if feeds and start[first::2].count(b"\n") == feeds == start.count(b"\n"):
            return name
        zeros = start[1 - first :: 2].count(0)
        if not feeds and b"\n" not in start and zeros > len(start) / 4 and 0 not in start[first::2]:
            return name
    return "utf-8"


def _has_line_feed(path: Path) -> bool:
    with path.open("rb") as file:
        return any(b"\n" in block for block in iter(lambda: file.read(1 << 20), b""))


def _undecoded(path: Path, encoding: str, error: UnicodeDecodeError) -> str:
    """Return a message that names the line that is not text."""
    if not encoding.startswith("utf-8"):
        return f"{path}: the file looks like {encoding.upper()} text and is none: {error.reason}"
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            try:
                line.decode("utf-8")
            except UnicodeDecodeError as first:
                byte = line[first.start]
                return (
                    f"{path}, line {number}: the file is not UTF-8 text (byte {byte:#04x}); "
                    f"convert it, for example: iconv -f LATIN1 -t UTF-8 {path.name}"
                )
    return f"{path}: the file is not UTF-8 text"
