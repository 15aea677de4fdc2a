"""What a path on disk says of ranks: a run, a search, a PEFT adapter, or a rank pattern."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from autolora_meta.errors import InputError
from autolora_meta.exporting.stored import CONFIG, read_adapter
from autolora_meta.foundation import manifest
from autolora_meta.foundation.progress import Row
from autolora_meta.pipeline.result import SearchResult
from autolora_meta.ranks.pattern import RankPattern
from autolora_meta.studies.labels import value_label, words
from autolora_meta.studies.ledger import STUDY
from autolora_meta.studies.questions import ARM
from autolora_meta.studies.runs import value_of
from autolora_meta.studies.schema import pattern_of
from autolora_meta.studies.table import FILE, StudyTable


@dataclass(frozen=True)
class Ranked:
    """The ranks at one place.

    Args:
        label: the last part of the path, for titles.
        pattern: the ranks: of a run, those of its first replicate.
        searches: ranks of each search, of each replicate where there are several.
        result: the search behind `pattern`; None for ranks that are not of a search of ours.
    """

    label: str
    pattern: RankPattern
    searches: tuple[RankPattern, ...]
    result: SearchResult | None = None


def read_ranked(path: Path) -> Ranked:
    """Read the ranks at `path`; no model is loaded.

    Args:
        path: the folder of a run, a search, a study (`ranks_of_study`) or a PEFT adapter (the
            shapes of its factors are its ranks), or a JSON file of a rank pattern.

    Raises:
        InputError: it is none of these, or broken.
    """
    if path.is_file():
        pattern = RankPattern.load(path)
        return Ranked(path.stem, pattern, (pattern,))
    if (path / CONFIG).is_file():
        pattern = read_adapter(path).pattern
        return Ranked(_label(path), pattern, (pattern,))
    if (ranks := ranks_of_study(path)) is not None:
        return ranks
    if not (path / "search").is_dir():
        raise InputError(
            f"{path} holds no ranks; give the folder of a run, a search or a study, of a PEFT "
            f"adapter (with {CONFIG}), or the JSON file of a rank pattern"
        )
    result = SearchResult.load(path)
    searches = tuple(each.ranks for each in result.searches)
    return Ranked(_label(path), result.ranks, searches, result)


def ranks_of_study(folder: Path) -> Ranked | None:
    """Return the ranks of one arm over the seeds of a study, at its first finished setting.

    The arm is the one whose ranks the study chooses, where it has that one. None where the folder
    is of no study, or none of its runs left ranks.
    """
    if not (folder / STUDY).is_file() or not (folder / FILE).is_file():
        return None
    table = StudyTable.load(folder)
    chosen, arms = table.primary.chosen, table.values(ARM)
    arm = chosen if chosen in arms else arms[0]
    found: dict[str, list[RankPattern]] = {}
    for row, pattern in _left(table, folder):
        if row["arm"] == arm:
            found.setdefault(words(row["settings"]), []).append(pattern)
    result = SearchResult.load(folder) if (folder / "search").is_dir() else None
    for setting, patterns in found.items():
        if result is not None and len(patterns) == 1:
            patterns = [each.ranks for each in result.searches]
        named = filter(None, [_label(folder), setting, None if result else arm])
        return Ranked(", ".join(named), patterns[0], tuple(patterns), result)
    return None


def ranks_by_value(
    table: StudyTable, folder: Path, key: str
) -> tuple[str, dict[str, list[RankPattern]]]:
    """Return value of a key -> the ranks of its seeds, where every other key has one value.

    That is the first of its values that has finished, but of arms the chosen one where it has.

    Returns:
        The values of the other keys, for people; and the ranks.
    """
    left = _left(table, folder)
    if not left:
        return "", {}
    left.sort(
        key=lambda one: one[0]["arm"] != table.primary.chosen
    )  # stable: the rest in the order of the grid
    where = {other: value_of(left[0][0], other) for other in table.keys if other != key}
    found: dict[str, list[RankPattern]] = {}
    for row, pattern in left:
        if all(value_of(row, other) == value for other, value in where.items()):
            found.setdefault(value_label(value_of(row, key)), []).append(pattern)
    return words(where), found


def _left(table: StudyTable, folder: Path) -> list[tuple[Row, RankPattern]]:
    """The finished runs of a study that left ranks, with those."""
    found = []
    for row in table.rows:
        file = folder / "runs" / row["id"] / str(row["seed"]) / row["arm"] / "ranks.json"
        if row["status"] != "finished":
            continue
        manifest.refuse_damaged(file.parent, manifest.AS_IT_IS, file.name)  # or gone
        if file.is_file():
            pattern = RankPattern.load(file)
            if row.get("pattern") not in (None, pattern_of(dict(pattern))):
                raise InputError(
                    f"{file} holds other ranks than {folder / FILE} tells of run {row['id']}; put "
                    "back what stood there"
                )
            found.append((row, pattern))
    return found


def labels(given: Sequence[Ranked]) -> list[str]:
    """One title each: the label, numbered where another has the same."""
    names = [ranked.label for ranked in given]
    return [
        f"{name} ({names[: i + 1].count(name)})" if names.count(name) > 1 else name
        for i, name in enumerate(names)
    ]


def _label(path: Path) -> str:
    """The folder's name; an adapter in a run's `adapter` goes by the run."""
    path = path.resolve()
    return f"{path.parent.name}/{path.name}" if path.name == "adapter" else path.name
