"""The folder of a study: what has finished, written by one process at a time."""

import json
import shutil
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, NotRequired

from pydantic import Field
from typing_extensions import TypedDict

from autolora_meta.errors import InputError
from autolora_meta.foundation import manifest, sealed_lines
from autolora_meta.foundation.json_files import (
    AS_IT_STANDS,
    Count,
    Part,
    Size,
    read_json,
    read_rows,
)
from autolora_meta.foundation.lock import clear, locked
from autolora_meta.foundation.places import sweep
from autolora_meta.studies.saved import saved_jobs

STUDY = "study.yaml"
RESULTS = "results.jsonl"


@dataclass(frozen=True)
class Took:
    """What a run took.

    Args:
        seconds: wall time of choosing its ranks, searches included and retraining not; jobs beside
            it make it longer.
        all_seconds: of choosing and retraining.
        peak_memory: most bytes above the loaded model while ranks were chosen, or None.
    """

    seconds: float
    all_seconds: float
    peak_memory: float | None

    def to_dict(self) -> dict[str, float | None]:
        """Return the columns of a data frame."""
        return asdict(self)


class _Finished(TypedDict):
    """A line of results.jsonl about a run that has finished."""

    id: Part
    status: Literal["finished"]
    metrics: dict[str, float]
    compared: list[str]
    ranks: dict[str, Count]
    parameters: Size
    cost: Size
    start: NotRequired[str]
    blind: NotRequired[bool]
    blind_answer: NotRequired[str | None]
    stack: NotRequired[Count]
    tuned: NotRequired[dict[str, float]]


class _Failed(TypedDict):
    """A line of results.jsonl about a run that has failed."""

    id: Part
    status: Literal["failed"]
    error: str


_Ended = Annotated[_Finished | _Failed, Field(discriminator="status"), AS_IT_STANDS]


class _Timed(TypedDict):
    """A line of timings.jsonl."""

    job: str
    seconds: Size
    allocation_seconds: NotRequired[Size]
    peak_memory: NotRequired[Size | None]
    searches: NotRequired[list[str]]


class _Look(TypedDict):
    """One of looks.json."""

    seeds: list[int]
    primary: str


_KINDS = ("searches", "runs")


class Ledger:
    """Results of a study on disk, a line for each run that ended.

    Layout: `study.yaml`; `results.jsonl`; `timings.jsonl`, what each job took; `searches/KEY`, each
    search once; `measured/KEY.json`, what an arm measured for all budgets; `budgets/KEY.json`, how
    a budget of auto was chosen; `runs/ID`, what each run left; `errors`, tracebacks; `looks.json`,
    the seeds at each end; `inputs.json`, hashes of the local files that it reads; `stacks.json`,
    how many adapters train at a time.

    Args:
        folder: of the study.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.results = folder / RESULTS
        self.timings = folder / "timings.jsonl"

    @contextmanager
    def writing(
        self, files: Mapping[str, str], *, wait: bool = False, anew: bool = False
    ) -> Iterator[None]:
        """Be the one process that works on the study while the body runs.

        Args:
            files: name -> content of what describes the study, `study.yaml` among them; written
                once the study is ours.
            wait: for another process that works on it, instead of refusing.
            anew: remove first what the folder holds of it.

        Raises:
            InputError: another process works on it, or the folder holds something else.
        """
        ours = (self.folder / STUDY).is_file() or STUDY in manifest.names(self.folder)
        if not (anew or ours) and self._taken():
            raise InputError(
                f"{self.folder} holds no study (it has no {STUDY}); give another name "
                "(name=...), or remove it yourself"
            )
        self.folder.mkdir(parents=True, exist_ok=True)
        otherwise = "wait for it with --wait (wait=True in Python), or give another name (name=...)"
        with locked(self.folder, otherwise, wait=wait):
            if anew:
                clear(self.folder)
            manifest.write_sealed(self.folder, files)
            self._mend()
            yield

    def refuse_changed(self, inputs: Mapping[str, str], read: Container[str] | None) -> None:
        """Remember the local files that the study reads; refuse what is no longer what it was.

        Args:
            inputs: path -> hash of its content.
            read: the paths that what has finished has read; None: any may be among them.

        Raises:
            InputError: a file has changed, and what has finished read the old one.
        """
        known = self._read("inputs.json", dict[str, str]) or {}
        changed = [path for path, found in inputs.items() if known.get(path, found) != found]
        changed = [path for path in changed if read is None or path in read]
        if changed:
            raise InputError(
                f"{', '.join(changed)} changed since {self.folder} was begun, and what has "
                "finished there was run on the old content; put that back, or give another name "
                "(name=...)"
            )
        said = json.dumps(known | dict(inputs), indent=1) + "\n"
        manifest.write_sealed(self.folder, {"inputs.json": said})

    def rows(self) -> dict[str, dict[str, Any]]:
        """Id -> the last line that was written about that run.

        Raises:
            InputError: results.jsonl is not what a study writes.
        """
        if not self.results.is_file():
            return {}
        again = (
            "make that line empty, and the same command runs again what it was about; where a line "
            "before it is gone, put an empty one in its place"
        )
        rows = read_rows(self.results, _Ended, again=again)
        return {row["id"]: row for row in rows}

    def append(self, *rows: Mapping[str, Any]) -> None:
        """Record how runs ended: all of them are on the disk when this returns, or none."""
        sealed_lines.append(self.results, *rows)

    def time(self, row: Mapping[str, Any]) -> None:
        """Record what a job took; apart from results, which are equal where studies are equal."""
        with manifest.sealing(self.folder, self.timings.name):
            sealed_lines.append(self.timings, row)

    def took(self) -> dict[str, Took]:
        """Return what each run took, where it and the searches that it read were timed."""
        jobs = {row["job"]: row for row in self._timed() if "allocation_seconds" in row}
        found = {}
        for key, row in jobs.items():
            behind = [jobs[name] for name in [key, *row.get("searches", [])] if name in jobs]
            if len(behind) == 1 + len(row.get("searches", [])):
                known = [one.get("peak_memory") for one in behind]
                memory = [peak for peak in known if peak is not None]
                found[key] = Took(
                    sum(one["allocation_seconds"] for one in behind),
                    sum(one["seconds"] for one in behind),
                    max(memory, default=None),
                )
        return found

    def seconds(self) -> list[float]:
        """Return the seconds of every job."""
        return [row["seconds"] for row in self._timed()]

    def _timed(self) -> list[Any]:
        if not self.timings.is_file():
            return []
        again = "remove it: the study goes on without what its runs took"
        manifest.refuse_damaged(self.folder, again, self.timings.name)
        return read_rows(self.timings, _Timed, again=again)

    def looked(self, seeds: Sequence[int], primary: str) -> None:
        """Record that there were results to look at.

        Args:
            seeds: that they are of.
            primary: the primary comparison, in words.
        """
        looks, look = self.looks(), {"seeds": sorted(set(seeds)), "primary": primary}
        if not looks or looks[-1] != look:
            said = json.dumps([*looks, look]) + "\n"
            manifest.write_sealed(self.folder, {"looks.json": said})

    def looks(self) -> list[dict[str, Any]]:
        """`seeds` and `primary` of the results that there were, each time that they changed."""
        return self._read("looks.json", list[_Look]) or []

    def stacks(self) -> dict[str, int]:
        """Return how many adapters train at a time, by what decided it (`stacks.Stacks`)."""
        return self._read("stacks.json", dict[str, Count]) or {}

    def keep_stacks(self, stacks: Mapping[str, int]) -> None:
        """Record how many adapters train at a time."""
        said = json.dumps(dict(sorted(stacks.items())), indent=1) + "\n"
        manifest.write_sealed(self.folder, {"stacks.json": said})

    def sweep(self) -> None:
        """Remove the half-done work of processes of this machine that are no more."""
        for place in (".", "searches", "measured", "budgets", "runs", "figures", "errors"):
            sweep(self.folder / place)
        for begun, keys in saved_jobs(self.folder):
            ended = [(self.folder / kind / key).exists() for key in keys for kind in _KINDS]
            if sum(ended) == len(keys):  # each of its jobs has ended, as one kind or the other
                shutil.rmtree(begun, ignore_errors=True)

    def begun(self) -> set[str]:
        """Return the keys of the jobs that have been saved and have not ended."""
        found = set[str]()
        for place, keys in saved_jobs(self.folder):
            if keys == {place.name} or any(place.rglob("step-*")):  # a stack's folder comes first
                found |= keys
        return found

    def forget(self, keys: Iterable[str]) -> None:
        """Remove what was saved of jobs that were begun, so that they begin anew."""
        forgotten = {*keys}
        for place, saved in saved_jobs(self.folder):
            if forgotten & saved:
                shutil.rmtree(place, ignore_errors=True)

    def shared(self) -> set[str]:
        """Keys of the searches, measurements and choices of a budget that are there."""
        kinds = ("searches", "measured", "budgets")
        places = (place for kind in kinds for place in self.folder.glob(f"{kind}/[!.]*"))
        return {place.name.removesuffix(".json") for place in places}

    def _read(self, name: str, kind: Any) -> Any:
        """Return what a file holds; None if it is not there, and never was."""
        manifest.refuse_damaged(self.folder, manifest.AS_IT_IS, name)
        return read_json(self.folder / name, kind) if (self.folder / name).is_file() else None

    def _taken(self) -> bool:
        if not self.folder.is_dir():
            return self.folder.exists()
        return any(not path.name.startswith(".") for path in self.folder.iterdir())

    def _mend(self) -> None:
        """Cut off the half line of a writer that was killed."""
        for path in filter(Path.is_file, (self.results, self.timings)):
            content = path.read_bytes()
            if len(whole := content[: content.rfind(b"\n") + 1]) < len(content):
                with path.open("rb+") as file:
                    file.truncate(len(whole))
