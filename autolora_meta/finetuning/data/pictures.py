"""The column of pictures: each is known to be whole, and none has more than 8 bits a channel.

`datasets` decodes a picture when it is used, so that a broken one would end a training, and Pillow
cuts off what more than 8 bits say at 255, at white.
"""

from collections.abc import Iterator
from io import BytesIO
from typing import Any

import numpy as np
from datasets import Dataset, Features, Image, Value
from PIL import Image as Pillow

from autolora_meta.errors import InputError
from autolora_meta.finetuning.data.part import Part, Parts, values
from autolora_meta.foundation.progress import Say

Content = str | bytes  # of a file, or its path
Shown = tuple[Dataset, list[bool]]  # one column of pictures, and whether each row has one
# White in masks and fractions, and in pictures of 8, 10, 12, 14 and 16 bits.
_WHITES = (1, 255, 1023, 4095, 16383, 65535)
_DARK = 64  # of 255: what 14 bits reach in 16


def shown(parts: Parts, column: str, say: Say) -> dict[str, Shown]:
    """Return the pictures of each split, or those of the paths in it, decoded when they are used.

    Pictures of more than 8 bits a channel become pictures of 8, all of them by the same factor.

    Raises:
        InputError: something is no picture, breaks off, or is too deep.
    """
    found = {split: _column(part, column) for split, part in parts.items()}
    there = {split: [False] * len(rows) for split, rows in found.items()}
    deep: dict[str, list[int]] = {split: [] for split in parts}
    largest = 0.0
    for split, part in parts.items():
        for row, content in _contents(found[split], column):
            there[split][row] = True
            try:
                if _is_deep(content):
                    largest = max(largest, _brightest(content))
                    deep[split].append(row)
            except InputError as error:
                raise InputError(f"{part.place(row)}: {error}") from None
    if count := sum(map(len, deep.values())):
        white = next(full for full in _WHITES if largest <= full)
        depth = "have more than 8 bits a channel"
        say(f"{count} pictures {depth}: their value {white} is read as white")
        for split, rows in deep.items():
            if rows:
                found[split] = _shallow(found[split], column, {*rows}, white)
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
    """Yield the number and the content of each picture; nothing is decoded."""
    stored: Any
    for i, stored in enumerate(rows.cast_column(column, Image(decode=False))):
        if (cell := stored[column]) is not None:
            yield i, cell["bytes"] or cell["path"]


def _is_deep(content: Content) -> bool:
    """Read a picture to its end, and return whether its only channel has more than 8 bits.

    Raises:
        InputError: it is no picture or breaks off, or is a picture of 16 bits in colour of which
            Pillow, reading the upper 8, leaves little.
    """
    try:
        with Pillow.open(_file(content)) as picture:
            deep = picture.mode.startswith(("I", "F"))
            coarse = not deep and ";16" in str(picture.tile)
            if picture.format == "PNG":
                picture.verify()  # its checksums, to the end of the file
            else:
                picture.draft("L", (1, 1))  # a JPEG: read to its end, and little computed
                picture.load()
    except Exception as error:  # whatever the parser of a format stumbles over
        raise InputError(f"{_named(content)} cannot be read as a picture: {error}") from None
    if coarse and (brightest := int(_pixels(content).max())) < _DARK:
        raise InputError(
            f"{_named(content)} is a picture of 16 bits in colour with values up to "
            f"{256 * brightest + 255} alone, which would be nearly black; scale it to 8 bits"
        )
    return deep


def _brightest(content: Content) -> float:
    """Return the largest value of a deep picture.

    Raises:
        InputError: a value is negative, not finite, above that of 16 bits, or a fraction above 1.
    """
    pixels = _pixels(content)
    low, high = float(pixels.min()), float(pixels.max())
    fractions = high > 1 and bool((pixels != np.floor(pixels)).any())
    if not (low >= 0 and high <= _WHITES[-1]) or fractions:
        raise InputError(
            f"{_named(content)} is a picture of values from {low:g} to {high:g}; allowed are whole "
            f"numbers from 0 to {_WHITES[-1]}, or fractions up to 1: scale it to 8 or 16 bits"
        )
    return high


def _shallow(rows: Dataset, column: str, deep: set[int], white: int) -> Dataset:
    """Return the same pictures, those that are deep with 8 bits, in which `white` is 255."""
    cells: list[dict[str, Content] | None] = [None] * len(rows)
    for i, content in _contents(rows, column):
        if i in deep:
            scaled = np.rint(_pixels(content).astype(np.float64) * (255 / white))
            file = BytesIO()
            Pillow.fromarray(scaled.astype(np.uint8)).save(file, "PNG")
            content = file.getvalue()
        cells[i] = {"path" if isinstance(content, str) else "bytes": content}
    return Dataset.from_dict({column: cells}, features=Features({column: Image()}))


def _pixels(content: Content) -> np.ndarray:
    with Pillow.open(_file(content)) as picture:
        return np.asarray(picture)


def _file(content: Content) -> str | BytesIO:
    return content if isinstance(content, str) else BytesIO(content)


def _named(content: Content) -> str:
    return content if isinstance(content, str) else "it"
