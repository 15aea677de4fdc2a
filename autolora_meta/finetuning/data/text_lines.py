"""Rows of text files with one row a line: `meaning||reference`, or a text."""

from pathlib import Path

import pyarrow as pa

from autolora_meta.errors import InputError
from autolora_meta.finetuning.data import text_file
from autolora_meta.finetuning.data.text_file import Read

BETWEEN = "||"


def read(path: Path, *, references: bool) -> Read:
    """Return a row for each line that is not empty.

    Args:
        path: the file.
        references: whether lines hold what is to be said and one way to say it, the columns text
            and target, as E2E's files do; else they hold the column text alone.

    Raises:
        InputError: a line of meaning and reference does not hold `||` once.
    """
    with text_file.opened(path) as file:
        lines = [(number, line) for number, line in text_file.numbered(file) if line.strip()]
    names = ("text", "target") if references else ("text",)
    rows = [line.split(BETWEEN) if references else [line] for _, line in lines]
    for (number, _), row in zip(lines, rows, strict=True):
        if len(row) != len(names):
            raise InputError(
                f"{path}, line {number}: `{BETWEEN}` stands {len(row) - 1} times; allowed is "
                f"meaning{BETWEEN}reference, once a line"
            )
    columns = [[row[i].strip() for row in rows] for i in range(len(names))]
    table = {
        name: pa.array(column, pa.string()) for name, column in zip(names, columns, strict=True)
    }
    return pa.table(table), [number for number, _ in lines]
