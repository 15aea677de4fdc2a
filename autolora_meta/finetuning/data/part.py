"""The rows of one split as the source has them, and where in it each row stands."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
from datasets import Dataset

from autolora_meta.errors import InputError

PLACE = "__place__"  # the column of ours that says where each row stands in the source
_SHOWN = 5  # places in a message


@dataclass(frozen=True)
class Part:
    """One split of a source.

    Args:
        rows: its rows, with the source's own columns.
        name: of the split.
        file: the file that they come from, where it is one.
        numbers: of the line on which each row begins, or of the row, from 1; None: all rows. (n,)
        unit: what the numbers count. Where it is the token, each token of a row has a line of its
            own, one after the other.
    """

    rows: Dataset
    name: str = "train"
    file: Path | None = None
    numbers: Sequence[int] | None = None
    unit: Literal["row", "line", "token"] = "row"

    def only(self, rows: Sequence[int]) -> "Part":
        """Return these rows alone; each still says where it stands in the source."""
        numbers = [i + 1 if self.numbers is None else self.numbers[i] for i in rows]
        return replace(self, rows=self.rows.select(rows), numbers=numbers)

    def places(self, rows: Sequence[int]) -> str:
        """Say where several rows stand, the first five of them at least."""
        return joined([self.place(row) for row in rows[:_SHOWN]], len(rows))

    def place(self, row: int, token: int | None = None) -> str:
        """Say where a row stands, or one token of it.

        >>> rows = Dataset.from_dict({"text": ["a", "b"]})
        >>> Part(rows, file=Path("mine.csv"), numbers=[2, 3], unit="line").place(1)
        'mine.csv, line 3'
        """
        where = self.file or f"split {self.name}"
        number = row + 1 if self.numbers is None else self.numbers[row]
        if self.unit == "token":
            return f"{where}, line {number + (token or 0)}"
        there = f"{where}, {self.unit} {number}"
        return there if token is None else f"{there}, token {token + 1}"


Parts = Mapping[str, Part]  # the splits of a source by name


def values(rows: Dataset, column: str) -> list[Any]:
    """Return a whole column as plain values; by items, `datasets` takes ten times as long.

    Raises:
        InputError: it holds bytes that are no text, as a broken file does.
    """
    table: Any = rows.select_columns([column]).with_format("arrow")[:]
    try:
        return table[column].to_pylist()
    except UnicodeDecodeError as error:
        raise InputError(f"column '{column}' holds text that is not UTF-8: {error}") from None


def refuse_damaged(batch: pa.RecordBatch) -> None:
    """Refuse lengths and texts that libraries follow without a look.

    Raises:
        ValueError: a column is damaged; the message names it.
    """
    for name, column in zip(batch.schema.names, batch.columns, strict=True):
        try:
            column.validate(full=True)
        except pa.ArrowInvalid as error:
            raise ValueError(f"column '{name}' is damaged: {error}") from None


def joined(places: Sequence[str], count: int | None = None) -> str:
    """Say where rows stand, the first five of them, and what they share once.

    Args:
        places: of rows; their line or row last.
        count: how many there are, where these are the first.

    >>> joined(["a.csv, line 3", "a.csv, line 5"]), joined(["a.csv, line 3"], 4)
    ('a.csv, lines 3, 5', 'a.csv, line 3 and 3 more')
    """
    first, more = places[:_SHOWN], (count or len(places)) - len(places[:_SHOWN])
    starts = {place.rsplit(" ", 1)[0] for place in first}
    rest = f" and {more} more" if more else ""
    if len(starts) > 1 or len(first) == 1:
        return f"{'; '.join(first)}{rest}"
    return f"{starts.pop()}s {', '.join(place.rsplit(' ', 1)[1] for place in first)}{rest}"
