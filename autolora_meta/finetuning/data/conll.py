"""Sentences from CoNLL and IOB files: a token and its tag a line, then an empty line."""

from array import array
from pathlib import Path

import pyarrow as pa

from autolora_meta.errors import InputError
from autolora_meta.finetuning.data.tables import Lines

# Lines that begin a document and are no token: CoNLL's, and those of the JNLPBA task.
DOCUMENT = ("-DOCSTART-", "###MEDLINE:")


def read(path: Path) -> tuple[pa.Table, Lines]:
    """Sentences with the columns tokens and tags.

    The token is a line's first field and the tag its last; what stands between is a column named by
    its number, so that `data.tags: "2"` reads that. Fields are divided by tabs, or by white space
    in a file whose first line has no tab.

    Returns:
        One row for each sentence, and the line on which it begins.

    Raises:
        InputError: a line has another number of fields than the first, or an empty one.
    """
    names: list[str] = []
    sentences: list[list[list[str]]] = []  # (sentences, fields, tokens)
    lines = array("q")
    delimiter: str | None = None
    within = False
    with open(path, encoding="utf-8-sig") as file:
        for number, line in enumerate(file, start=1):
            if not line.strip() or line.startswith(DOCUMENT):
                within = False
                continue
            if not names:
                delimiter = "\t" if "\t" in line else None
            fields = [field.strip() for field in line.rstrip("\r\n").split(delimiter)]
            if not names:
                names = _names(path, number, fields)
            if len(fields) != len(names) or not all(fields):
                raise InputError(
                    f"{path}, line {number}: {len(fields)} fields, {fields.count('')} of them "
                    f"empty; the first line has {len(names)}: a token and its tag are needed, "
                    "and an empty line between sentences"
                )
            if not within:
                within = True
                lines.append(number)
                sentences.append([[] for _ in names])
            for column, field in zip(sentences[-1], fields, strict=True):
                column.append(field)
    columns = {name: [sentence[i] for sentence in sentences] for i, name in enumerate(names)}
    strings = pa.list_(pa.string())
    return pa.table({name: pa.array(column, strings) for name, column in columns.items()}), lines


def _names(path: Path, number: int, fields: list[str]) -> list[str]:
    if len(fields) < 2:
        raise InputError(
            f"{path}, line {number}: one field, '{fields[0][:40]}'; a token and its tag are needed "
            "on each line, divided by a tab or a space"
        )
    return ["tokens", *(str(i + 1) for i in range(1, len(fields) - 1)), "tags"]
