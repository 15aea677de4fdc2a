"""The column of pictures: each one known to be whole, and none with more than 8 bits a channel."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from datasets import Dataset, Features, Image, Value

from autolora_meta.errors import InputError
from autolora_meta.finetuning.data import images
from autolora_meta.finetuning.data.part import Part, values

Content = str | bytes  # of a file, or its path


def shown(
    parts: Mapping[str, Part], column: str, say: Callable[[str], None]
) -> dict[str, tuple[Dataset, list[bool]]]:
    """For each split one column of pictures, read when they are used, and whether each row has one.

    Pictures of more than 8 bits a channel become pictures of 8, all of them by the same factor.

    Args:
        parts: splits of the source.
        column: of pictures, or of paths of files.
        say: told how deep pictures were read.

    Raises:
        InputError: something is no picture, breaks off, or is too deep.
    """
    found = {split: _column(part, column) for split, part in parts.items()}
    there = {split: [False] * len(rows) for split, rows in found.items()}
    deep: dict[str, dict[int, Content]] = {split: {} for split in parts}
    largest = 0.0
    for split, part in parts.items():
        for row, content in _contents(found[split], column):
            there[split][row] = True
            with _placed(part, row):
                if images.is_deep(images.refuse_broken(content)):
                    largest = max(largest, images.brightest(content))
                    deep[split][row] = content
    if count := sum(map(len, deep.values())):
        full = images.white(largest)
        say(
            f"{count} pictures have more than 8 bits a channel: their value {full} is read as white"
        )
        found = {
            split: _shallow(rows, column, deep[split], full) if deep[split] else rows
            for split, rows in found.items()
        }
    return {split: (rows, there[split]) for split, rows in found.items()}


def _column(part: Part, column: str) -> Dataset:
    rows = part.rows.select_columns([column])
    feature = rows.features[column]
    if isinstance(feature, Image):
        return rows.cast_column(column, Image())
    if feature not in (Value("string"), Value("large_string")):
        raise InputError(
            f"column '{column}' of split '{part.name}' holds {feature}, not pictures; allowed are "
            "datasets.Image, or paths of files"
        )
    # Beside the file that names them, unless a path is absolute.
    near = part.file.parent if part.file else None
    paths = [(path or "").strip() for path in values(rows, column)]
    shown = [str(near / path) if near and path else path or None for path in paths]
    return Dataset.from_dict({column: shown}).cast_column(column, Image())


def _contents(rows: Dataset, column: str) -> Iterator[tuple[int, Content]]:
    """The number and the content of each picture; nothing is decoded."""
    stored: Any
    for i, stored in enumerate(rows.cast_column(column, Image(decode=False))):
        cell = stored[column]
        if cell is not None:
            yield i, cell["bytes"] or cell["path"]


def _shallow(rows: Dataset, column: str, deep: Mapping[int, Content], full: int) -> Dataset:
    """The same pictures, those that are deep with 8 bits."""
    cells: list[Content | None] = [None] * len(rows)
    for i, content in _contents(rows, column):
        cells[i] = images.eight_bits(content, full) if i in deep else content
    stored = [
        None if c is None else {"path": c} if isinstance(c, str) else {"bytes": c} for c in cells
    ]
    return Dataset.from_dict({column: stored}, features=Features({column: Image()}))


@contextmanager
def _placed(part: Part, row: int) -> Iterator[None]:
    """Say of a picture that is refused where its row stands."""
    try:
        yield
    except InputError as error:
        raise InputError(f"{part.place(row)}: {error}") from None
