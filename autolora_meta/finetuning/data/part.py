"""The rows of one split as the source has them, and where in it each row stands."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from datasets import Dataset


@dataclass(frozen=True)
class Part:
    """One split of a source.

    Args:
        rows: its rows, with the source's own columns.
        name: of the split.
        file: the file that they come from, where it is one.
        lines: where the file has lines, that on which each row begins, from 1. (n,)
        token_lines: whether each token of a row has a line of its own, one after the other.
    """

    rows: Dataset
    name: str = "train"
    file: Path | None = None
    lines: Sequence[int] | None = None
    token_lines: bool = False

    def place(self, row: int, token: int | None = None) -> str:
        """Where a row stands, or one token of it, in words.

        >>> rows = Dataset.from_dict({"text": ["a", "b"]})
        >>> Part(rows, file=Path("mine.csv"), lines=[2, 3]).place(1)
        'mine.csv, line 3'
        """
        if self.lines is not None and token is not None and self.token_lines:
            return f"{self.file}, line {self.lines[row] + token}"
        if self.lines is not None:
            there = f"{self.file}, line {self.lines[row]}"
        else:
            there = f"{self.file or f'split {self.name}'}, row {row + 1}"
        return there if token is None else f"{there}, token {token + 1}"
