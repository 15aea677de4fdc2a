"""Damage to the folder of a finished run: each reader refuses it by name, or gives what it gave."""

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from autolora_meta.config.run import RunConfig
from autolora_meta.errors import InputError
from autolora_meta.pipeline.result import SearchResult
from autolora_meta.ranks.pattern import RankPattern
from autolora_meta.reporting.page import page
from autolora_meta.reporting.ranked import read_ranked
from autolora_meta.reporting.summary import write_summary
from autolora_meta.studies.study import Study
from tests.end_to_end import command

# Written for people, or by a library for itself: no command reads them.
UNREAD = ("report.html", "summary.md", "figures", ".lock", "trackers")
READERS = ("compare", "allocate", "export", "retrain", "run", "figures", "page")
KINDS = ("flip", "cut", "delete", "other")


@dataclass(frozen=True)
class Damage:
    """One way to damage one file.

    Args:
        name: of the file, below the folder.
        kind: `flip` a bit, `cut` the end off, `delete`, or put the `other` file of the same name in
            its place.
        at: which bit, or where the cut is.
    """

    name: str
    kind: str
    at: int = 0

    def do(self, folder: Path, other: Path | None) -> None:
        """Damage the file."""
        file = folder / self.name
        content = bytearray(file.read_bytes())
        if self.kind == "flip":
            content[self.at // 8] ^= 1 << self.at % 8
            file.write_bytes(content)
        elif self.kind == "cut":
            file.write_bytes(content[: self.at])
        elif self.kind == "delete":
            file.unlink()
        elif other is not None:
            file.write_bytes((other / self.name).read_bytes())


def damages(folder: Path, draw: random.Random, other: Path | None = None) -> Iterator[Damage]:
    """Yield damage without end, to files of every name by turns.

    Args:
        folder: of a finished run.
        draw: chooses.
        other: a run with files of the same names, and other content.
    """
    named: dict[str, list[Path]] = {}
    for file in sorted(path for path in folder.rglob("*") if path.is_file()):
        if file.relative_to(folder).parts[0] not in UNREAD:
            named.setdefault(file.name, []).append(file)
    for turn in range(10**9):
        for files in named.values():
            file = draw.choice(files)
            size, name = file.stat().st_size, file.relative_to(folder).as_posix()
            kind = KINDS[turn % 4 if turn < 4 else draw.choice((0, 0, 0, 1, 2, 3))]
            if kind == "other" and (other is None or not (other / name).is_file()):
                kind = "flip"
            if kind == "delete" and file.name == "timings.jsonl":
                continue  # which is told less then, as the documentation says
            if size:
                yield Damage(name, kind, draw.randrange(size * (8 if kind == "flip" else 1)))


Readers = dict[str, Callable[[], object]]


def said(*arguments: object) -> str:
    """What a command prints.

    Raises:
        InputError: it refuses something, with status 2.
    """
    told = command(*arguments)
    if told.status == 2:
        raise InputError(told.err)
    return f"{told.status} {told.out}"


def readers(config: Path, folder: Path) -> Readers:
    """Return what the commands read of a finished run, by command; none draws or trains."""

    def retrained() -> object:
        found = RunConfig.of_folder(folder)
        start = SearchResult.load(folder).start
        if start is None:  # as `pipeline.retrain` refuses it, where it is to go on from the search
            raise InputError("start.safetensors is missing")
        return found, RankPattern.load(folder / "ranks.json")

    def gone_on() -> object:  # what is not there is run again
        study = Study.of(RunConfig.load(config), folder)
        table = study.table()
        return study.goes_on(), {row["id"]: row for row in table.rows}, tuple(table.took.items())

    def drawn() -> object:
        ranked = read_ranked(folder)
        result = ranked.result
        return ranked.pattern, result and (result.rows, result.trajectory.tolist())

    def told() -> object:
        write_summary(folder)
        return (folder / "summary.md").read_bytes(), page(folder).read_bytes()

    return {
        "compare": lambda: said("compare", folder),
        "allocate": lambda: said("allocate", folder, "budget=uniform:2"),
        "export": lambda: said("export", folder),
        "retrain": retrained,
        "run": gone_on,
        "figures": drawn,
        "page": told,
    }


def fault(damage: Damage, read_by: Readers, whole: dict[str, object]) -> str | None:
    """Return what a damaged folder was taken for, if it was not refused by the file's name.

    Args:
        damage: that was done.
        read_by: readers of the folder.
        whole: what each gave before.
    """
    for name, read in read_by.items():
        try:
            found = read()
        except InputError as error:
            if Path(damage.name).name not in str(error):
                return f"{name} of {damage} names another file: {error}"
        except Exception as error:
            return f"{name} of {damage} gives {type(error).__name__}: {error}"
        else:
            if not _alike(found, whole[name]) and not _tells(found, whole[name], damage):
                return f"{name} of {damage} gives something else"
    return None


def _alike(found: Any, whole: Any) -> bool:
    """Whether a reader gave what it gave of the whole folder, but for runs that are run again."""
    if isinstance(found, dict):
        return all(row == whole[run] or row["status"] == "missing" for run, row in found.items())
    if isinstance(found, tuple):
        return all(map(_alike, found, whole))
    return found == whole


def _tells(found: object, whole: object, damage: Damage) -> bool:
    """Whether what a reader gave says more of the damaged file than that of the whole folder."""
    name = Path(damage.name).name
    return str(found).count(name) > str(whole).count(name)
