"""Checkpoints: the last two states of long work, so that it can go on after a kill."""

import logging
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import torch

from autolora_meta.errors import Changed, InputError, NotFinite
from autolora_meta.foundation import processes
from autolora_meta.foundation.progress import Say
from autolora_meta.foundation.state_files import SUFFIX, read_state, write_state

_LOG = logging.getLogger("autolora_meta")
_KEPT = 2
_OTHERS = {
    "configuration": "they are of another configuration or version",
    "base": "the weights of the model are others now",
    "batches": "the rows are others now, or their order comes from a generator of its own",
}


class Every(NamedTuple):
    """How often a checkpoint is written: whichever of the two is due first.

    Args:
        minutes: from one to the next; None: not by time.
        steps: of the work, from one to the next; None: not by steps.
    """

    minutes: float | None = None
    steps: int | None = None


class Checkpoints:
    """The place of the checkpoints of one piece of work.

    >>> kept = Checkpoints(Path("checkpoints"), Every(minutes=5))  # doctest: +SKIP
    >>> if kept.due(step):
    ...     kept.save(step, engine.state_dict())

    Args:
        folder: of its own; made with the first checkpoint.
        every: how often one is due.
    """

    def __init__(self, folder: Path, every: Every) -> None:
        self.folder, self._every = folder, every
        self._step, self._time = 0, time.monotonic()

    def due(self, step: int) -> bool:
        """Return whether it is time for a checkpoint at this step of the work."""
        minutes, steps = self._every
        late = minutes is not None and time.monotonic() - self._time >= 60 * minutes
        return late or (steps is not None and step - self._step >= steps)

    def save(self, step: int, state: dict[str, Any]) -> None:
        """Write a checkpoint, and remove all but the last two.

        A disk that is full costs the checkpoint, and not the work: a warning says so.

        Args:
            step: of the work.
            state: what `write_state` takes.
        """
        self._step, self._time = step, time.monotonic()
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            written = write_state(self.folder, f"step-{step:08d}", state)
            for old in [file for file in self._files() if file != written][_KEPT - 1 :]:
                old.unlink(missing_ok=True)
        except OSError as error:
            _LOG.warning(
                "no checkpoint of step %d could be written to %s (%s); the work goes on",
                *(step, self.folder, error.strerror or error),
            )

    def latest(self) -> tuple[int, dict[str, Any]] | None:
        """Return step and state of the last checkpoint that is whole; None if there is none.

        A damaged one is told, and the one before it serves.
        """
        for file in self._files():
            try:
                state = read_state(file)
            except InputError as error:
                _LOG.warning("%s; the checkpoint before it serves, or the beginning", error)
                continue
            self._step, self._time = _step(file), time.monotonic()
            return self._step, state
        return None

    @property
    def step(self) -> int | None:
        """Step of the last checkpoint, whole or not; None if there is none."""
        return next(map(_step, self._files()), None)

    def below(self, name: str) -> "Checkpoints":
        """Return the checkpoints of a part of the work."""
        return Checkpoints(self.folder / name, self._every)

    def clear(self) -> None:
        """Remove all of them: the work is done, or begins anew."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _files(self) -> list[Path]:
        """Return the checkpoints, the last one first."""
        found = self.folder.glob(f"step-*-*{SUFFIX}") if self.folder.is_dir() else ()
        return sorted((file for file in found if _step(file) >= 0), key=_step, reverse=True)


@contextmanager
def saying_how_to_go_on(kept: Checkpoints, say: Say) -> Iterator[None]:
    """Say from where the same command goes on, if Ctrl-C or SIGTERM ends the body."""
    try:
        yield
    except KeyboardInterrupt:
        if any(kept.folder.rglob(f"*{SUFFIX}")):  # of pooled searches they stand further below
            say(f"\nstopped; the same command goes on from the last checkpoint in {kept.folder}")
        else:
            say("\nstopped before the first checkpoint; the same command begins anew")
        raise


@contextmanager
def naming_what_is_kept(kept: Checkpoints) -> Iterator[None]:
    """Add to what is said of numbers that are no longer finite: which state before them is kept."""
    try:
        yield
    except NotFinite as error:
        if kept.step is None:
            raise
        raise NotFinite(
            f"{error}. The state of step {kept.step} is kept in {kept.folder}"
        ) from error


def refuse_other(
    kept: Checkpoints, work: str, held: Mapping[str, str], now: Mapping[str, str]
) -> None:
    """Refuse checkpoints that are not of this work.

    Args:
        kept: the checkpoints.
        work: what it is, for the message.
        held: hashes of `configuration`, `base` and `batches`, as they were.
        now: some of them, as they are.

    Raises:
        Changed: one of them differs; the message says which.
    """
    for what in now:
        if held.get(what) != now[what]:
            raise Changed(
                f"the checkpoints in {kept.folder} are not of this {work}: {_OTHERS[what]}. Put "
                "back what was there, or begin anew (--restart; in Python, remove the folder)"
            )


def machine(device: torch.device | str) -> dict[str, str]:
    """Return what the bytes of a result depend on beside its configuration."""
    threads = str(torch.get_num_threads())
    found = {"device": str(device), "threads": threads, "torch": torch.__version__}
    many = processes.count()
    return found if many == 1 else found | {"processes": str(many)}


def tell_elsewhere(held: Mapping[str, str], now: Mapping[str, str]) -> None:
    """Warn where work goes on by other means than it was begun with (`machine`)."""
    if held != now:
        there, here = (", ".join(f"{k} {v}" for k, v in each.items()) for each in (held, now))
        _LOG.warning(
            "this goes on with %s, and was begun with %s: it ends the same within rounding, not "
            "to the byte",
            *(here, there),
        )


def _step(file: Path) -> int:
    step = file.name.split("-")[1]
    return int(step) if step.isdecimal() else -1
