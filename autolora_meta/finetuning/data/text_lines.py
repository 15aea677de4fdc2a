"""Rows from text files with one row a line: `meaning||reference`, or a text."""

from array import array
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa

from autolora_meta.errors import InputError
from autolora_meta.finetuning.data import text_file
from autolora_meta.finetuning.data.tables import Lines

BETWEEN = "||"


def meanings(path: Path) -> tuple[pa.Table, Lines]:
    """The columns text (what is to be said) and target (one way to say it), as E2E's files.

    A meaning that stands on several lines has several references.

    Raises:
        InputError: a line does not hold `||` once.
    """
    lines, texts, targets = array("q"), [], []
    for number, line in _lines(path):
        fields = line.split(BETWEEN)
        if len(fields) != 2:
            raise InputError(
                f"{path}, line {number}: `{BETWEEN}` stands {len(fields) - 1} times; allowed is "
                f"meaning{BETWEEN}reference, once a line"
            )
        lines.append(number)
        texts.append(fields[0])
        targets.append(fields[1])
    return pa.table({"text": _strings(texts), "target": _strings(targets)}), lines


def texts(path: Path) -> tuple[pa.Table, Lines]:
    """The column text: each line that is not empty."""
    numbered = list(_lines(path))
    table = pa.table({"text": _strings([line for _, line in numbered])})
    return table, array("q", (number for number, _ in numbered))


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    with text_file.opened(path) as file:
        for number, line in text_file.numbered(file):
            if line.strip():
                yield number, line


def _strings(values: list[str]) -> pa.Array:
    return pa.array([value.strip() for value in values], pa.string())
