"""The rows of one split as the source has them, and where in it each row stands."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

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
        lines: where the file has lines, that on which each row begins, from 1. (n,)
        token_lines: whether each token of a row has a line of its own, one after the other.
        numbers: which of the source's rows they are, from 0, where some were left out. (n,)
    """

    rows: Dataset
    name: str = "train"
    file: Path | None = None
    lines: Sequence[int] | None = None
    token_lines: bool = False
    numbers: Sequence[int] | None = None

    def only(self, rows: Sequence[int]) -> "Part":
        """Return these rows alone; each still says where it stands in the source."""
        lines = None if self.lines is None else [self.lines[i] for i in rows]
        numbers = rows if self.numbers is None else [self.numbers[i] for i in rows]
        return replace(self, rows=self.rows.select(rows), lines=lines, numbers=numbers)

    def places(self, rows: Sequence[int]) -> str:
        """Say where several rows stand, the first five of them at least."""
        return joined([self.place(row) for row in rows[:_SHOWN]], len(rows))

    def place(self, row: int, token: int | None = None) -> str:
        """Say where a row stands, or one token of it.

        >>> rows = Dataset.from_dict({"text": ["a", "b"]})
        >>> Part(rows, file=Path("mine.csv"), lines=[2, 3]).place(1)
        'mine.csv, line 3'
        """
        if self.lines is not None and token is not None and self.token_lines:
            return f"{self.file}, line {self.lines[row] + token}"
        if self.lines is not None:
            there = f"{self.file}, line {self.lines[row]}"
        else:
            number = row if self.numbers is None else self.numbers[row]
            there = f"{self.file or f'split {self.name}'}, row {number + 1}"
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
