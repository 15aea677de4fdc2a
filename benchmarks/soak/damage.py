"""Damage to finished runs: each command refuses it by the file's name, or gives what it gave."""

import contextlib
import random
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.soak.kills import COMMAND
from benchmarks.soak.line import Line
from tests.damaged_run import KINDS, Damage, Readers, damages, fault, readers, said
from tests.end_to_end import contents, tiny_setting

_WORDS = {
    "flip": "a flipped bit",
    "cut": "a file cut short",
    "delete": "a file deleted",
    "other": "a file of another run in its place",
}
_ALL = 15  # of so many damages one is shown to every command, trainings and figures included
_PATIENCE = 10  # seconds that reading may take; commands that train or draw have ten times that


def soak(seconds: float, seed: int, folder: Path) -> list[Line]:
    """Damage one file after another of a finished run, until the time is over.

    Args:
        seconds: what it may take, about.
        seed: of what is damaged.
        folder: to work in.
    """
    end, draw = time.monotonic() + seconds, random.Random(seed)
    config = tiny_setting(folder).config
    for name, more in (("whole", ()), ("other", ("search.outer_steps=4",))):
        call = [*COMMAND, "run", str(config), *more, "--runs", str(folder / name)]
        subprocess.run(call, check=True, capture_output=True)
    kept, here = folder / "whole" / "tiny", folder / "damaged" / "tiny"
    shutil.copytree(kept, here)
    light, heavy = readers(config, here), _commands(config, here)
    whole = [{name: read() for name, read in each.items()} for each in (light, heavy)]
    lines = {kind: Line(f"{_WORDS[kind]}: refused by name, or read as before") for kind in KINDS}
    for number, damage in enumerate(damages(kept, draw, folder / "other" / "tiny")):
        if time.monotonic() > end:
            break
        damage.do(here, folder / "other" / "tiny")
        found = _in_time(_PATIENCE, damage, light, whole[0])
        if number % _ALL == 0:
            found = found or _in_time(10 * _PATIENCE, damage, heavy, whole[1])
            shutil.rmtree(here)  # which a run mends, or goes on with
            shutil.copytree(kept, here)
        shutil.copy(kept / damage.name, here / damage.name)
        lines[damage.kind].note(found)
    return list(lines.values())


def _commands(config: Path, folder: Path) -> Readers:
    """Return the commands that draw, train or write, and what each writes."""
    out = folder.parent / "out"

    def written(*arguments: object) -> dict[str, bytes]:
        shutil.rmtree(out, ignore_errors=True)
        said(*arguments, "--output", out)
        # The card is for people, who may change it: an export takes it along as it is.
        return {name: held for name, held in contents(out).items() if name != "README.md"}

    def run() -> bytes:
        said("run", config, "--runs", folder.parent)
        return (folder / "table.json").read_bytes()

    def plot() -> tuple[Any, ...]:
        said("plot", folder)
        return contents(folder / "figures"), (folder / "report.html").read_bytes()

    return {
        "export --to": lambda: tuple(written("export", folder, "--to", "peft").items()),
        "retrain": lambda: tuple(written("retrain", folder).items()),
        "plot": plot,
        "run": run,
    }


class _TooLong(BaseException):
    """No Exception, so that nothing takes it for an error of a file."""


def _in_time(seconds: float, damage: Damage, read_by: Readers, whole: Any) -> str | None:
    try:
        with _alarm(seconds):
            return fault(damage, read_by, whole)
    except _TooLong:
        return f"{damage} takes longer than {seconds:g} s"


@contextlib.contextmanager
def _alarm(seconds: float) -> Iterator[None]:
    """Raise `_TooLong` in the body when it takes longer."""

    def ring(*_: object) -> None:
        raise _TooLong

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
