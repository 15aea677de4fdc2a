"""RankPattern: its checks and its file."""

from pathlib import Path

import pytest

from autolora_meta.errors import InputError
from autolora_meta.ranks.pattern import RankPattern

PATTERN = RankPattern(("a", "b"), (2, 0), (10, 20), k=4, scale=2.0)


def test_a_saved_pattern_loads_as_it_was(tmp_path: Path) -> None:
    PATTERN.save(tmp_path / "ranks.json")
    assert RankPattern.load(tmp_path / "ranks.json") == PATTERN


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{}", '{"layers": [{"name": "a", "rank": "x", "cost": 1}], "k": 4, "scale": 1}'],
)
def test_files_that_are_no_pattern_are_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "ranks.json").write_text(text)
    with pytest.raises(InputError, match="is not a rank pattern"):
        RankPattern.load(tmp_path / "ranks.json")
    with pytest.raises(InputError, match="there is no file"):
        RankPattern.load(tmp_path / "missing.json")


@pytest.mark.parametrize(
    ("names", "ranks", "costs", "message"),
    [
        (("a", "b"), (1,), (10, 10), "2 names, 1 ranks, 2 costs"),
        (("a", "a"), (1, 1), (10, 10), "stands twice"),
        (("a", "b"), (1, 5), (10, 10), r"0\.\.k = 4; given \{'b': 5\}"),
        (("a", "b"), (1, -1), (10, 10), r"given \{'b': -1\}"),
        (("a", "b"), (1, 1), (10, 0), "at least one parameter"),
    ],
)
def test_patterns_that_cannot_be_are_refused(
    names: tuple[str, ...], ranks: tuple[int, ...], costs: tuple[int, ...], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        RankPattern(names, ranks, costs, k=4, scale=2.0)
