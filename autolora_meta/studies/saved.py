"""Where jobs of a study are saved while they run: one by its key, a stack by all its keys."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

from autolora_meta.foundation.places import replace_text

CHECKPOINTS = "checkpoints"
_STACK, _MEMBERS = "stack-", "members"  # what its folder is named after, and a file of its keys


def checkpoints_of(place: Path) -> Path:
    """Return where the job that makes `place` is saved: the same at every start."""
    return place.parent.parent / CHECKPOINTS / place.name


def checkpoints_of_stack(places: Sequence[Path]) -> Path:
    """Return where the jobs that make `places` in one pass are saved, in that order.

    It is made, since it names the jobs.
    """
    keys = [place.name for place in places]
    digest = hashlib.sha256(" ".join(keys).encode()).hexdigest()[:12]
    saved = checkpoints_of(places[0]).with_name(f"{_STACK}{digest}")
    saved.mkdir(parents=True, exist_ok=True)
    replace_text(saved / _MEMBERS, "\n".join(keys))
    return saved


def saved_jobs(folder: Path) -> list[tuple[Path, set[str]]]:
    """Return each place of checkpoints in the folder of a study, and the keys of its jobs."""
    return [(place, _keys(place)) for place in folder.glob(f"{CHECKPOINTS}/*")]


def _keys(place: Path) -> set[str]:
    if not place.name.startswith(_STACK):
        return {place.name}
    members = place / _MEMBERS
    return {*members.read_text().split()} if members.is_file() else set()
