"""The folder of a study: what has finished, written by one process at a time."""

import json
import os
import re
import shutil
from collections.abc import Container, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from platform import node
from typing import Any

import psutil
from filelock import FileLock, Timeout

from autolora_meta.errors import InputError
from autolora_meta.foundation.json_files import read_json, read_rows


class Ledger:
    """Results of a study on disk, a line for each run that ended.

    Layout: `study.yaml`; `results.jsonl`; `timings.jsonl`, what each job took; `searches/KEY`, each
    search once; `measured/KEY.json`, what an arm measured for all budgets; `runs/ID`, what each run
    left; `errors`, tracebacks; `looks.json`, the seeds at each end; `inputs.json`, hashes of the
    local files that it reads.

    Args:
        folder: of the study.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.results = folder / "results.jsonl"
        self.timings = folder / "timings.jsonl"

    @contextmanager
    def writing(self, study: str, *, wait: bool = False) -> Iterator[None]:
        """Be the one process that works on the study while the body runs.

        Args:
            study: the study as YAML, which the folder will hold.
            wait: for another process that works on it, instead of refusing.

        Raises:
            InputError: another process works on it, or the folder holds something else.
        """
        if not (self.folder / "study.yaml").is_file() and self._taken():
            raise InputError(
                f"{self.folder} holds no study (it has no study.yaml); give the study another "
                "name or folder, or remove it yourself"
            )
        self.folder.mkdir(parents=True, exist_ok=True)
        # The system lets go of it when the process ends, however it ends.
        lock = FileLock(self.folder / ".lock")
        try:
            lock.acquire(timeout=-1 if wait else 0)
        except Timeout:
            raise InputError(
                f"another process is working on {self.folder}; wait for it with --wait (wait=True "
                "in Python), or give this study another name"
            ) from None
        try:
            (self.folder / "study.yaml").write_text(study, encoding="utf-8")
            self._mend()
            yield
        finally:
            lock.release()

    def refuse_changed(self, inputs: Mapping[str, str], read: Container[str] | None) -> None:
        """Remember the local files that the study reads; refuse what is no longer what it was.

        Args:
            inputs: path -> hash of its content.
            read: the paths that what has finished has read; None: any may be among them.

        Raises:
            InputError: a file has changed, and what has finished read the old one.
        """
        place = self.folder / "inputs.json"
        known = read_json(place) if place.is_file() else {}
        changed = [path for path, found in inputs.items() if known.get(path, found) != found]
        changed = [path for path in changed if read is None or path in read]
        if changed:
            raise InputError(
                f"{', '.join(changed)} changed since {self.folder} was begun, and what has "
                "finished there was run on the old content; put that back, or give this study "
                "another name"
            )
        place.write_text(json.dumps(known | dict(inputs), indent=1) + "\n", encoding="utf-8")

    def rows(self) -> dict[str, dict[str, Any]]:
        """Id -> the last line that was written about that run.

        Raises:
            InputError: results.jsonl is not what this tool writes.
        """
        if not self.results.is_file():
            return {}
        rows = read_rows(self.results)
        try:
            return {row["id"]: row for row in rows}
        except (KeyError, TypeError) as error:
            raise InputError(
                f"{self.results} is not what a study writes ({error}); repair or remove that line"
            ) from None

    def append(self, row: Mapping[str, Any]) -> None:
        """Record how a run ended; it is on the disk when this returns."""
        with self.results.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
            file.flush()
            os.fsync(file.fileno())

    def time(self, row: Mapping[str, Any]) -> None:
        """Record what a job took; apart from results, which are equal where studies are equal."""
        with self.timings.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")

    def took(self) -> dict[str, dict[str, Any]]:
        """Id of a run or key of a search -> `allocation_seconds` and `peak_memory`, where known."""
        if not self.timings.is_file():
            return {}
        return {row["job"]: row for row in read_rows(self.timings) if "allocation_seconds" in row}

    def looked(self, seeds: Sequence[int], primary: str) -> None:
        """Record that there were results to look at.

        Args:
            seeds: that they are of.
            primary: the primary comparison, in words.
        """
        looks, look = self.looks(), {"seeds": sorted(set(seeds)), "primary": primary}
        if not looks or looks[-1] != look:
            place = self.folder / "looks.json"
            place.write_text(json.dumps([*looks, look]) + "\n", encoding="utf-8")

    def looks(self) -> list[dict[str, Any]]:
        """`seeds` and `primary` of the results that there were, each time that they changed."""
        place = self.folder / "looks.json"
        return json.loads(place.read_text(encoding="utf-8")) if place.is_file() else []

    def sweep(self) -> None:
        """Remove the half-done work of processes of this machine that are no more."""
        for place in ("searches", "measured", "runs"):
            for scratch in self.folder.glob(f"{place}/.*"):
                worker = re.search(r"-(\d+)@(.+)-[^-]+$", scratch.name)
                if worker and worker[2] == node() and not psutil.pid_exists(int(worker[1])):
                    shutil.rmtree(scratch, ignore_errors=True)

    def shared(self) -> set[str]:
        """Keys of the searches and measurements that are there."""
        places = [*self.folder.glob("searches/[!.]*"), *self.folder.glob("measured/[!.]*")]
        return {place.name.removesuffix(".json") for place in places}

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
