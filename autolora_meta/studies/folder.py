"""The folder of a run: free, taken or replaced; finished work is never lost by accident."""

import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from itertools import count
from pathlib import Path
from typing import Any

from autolora_meta.config.run import CHANGED, RunConfig
from autolora_meta.errors import InputError
from autolora_meta.foundation import lock, manifest
from autolora_meta.foundation.places import sweep, writable
from autolora_meta.studies.ledger import RESULTS, STUDY
from autolora_meta.studies.study import Study

_CONFIG = "config.yaml"
_SEARCHED = "search/search.json"
_NAMED = 4  # keys in a message


class Taken(InputError):
    """A folder holds finished work, or something else that is no run."""


def taken(folder: Path) -> bool:
    """Return whether anything stands at the place of a folder that is to be made."""
    if not os.path.isdir(folder):  # that of a name too long says no, too
        return os.path.lexists(folder)
    return any(path.name not in lock.FILES for path in folder.iterdir())


def vacant(folder: Path, *, overwrite: bool = False) -> Path:
    """Return `folder`, if a run or a search may go into it.

    Args:
        folder: of the run.
        overwrite: the run that it holds may be replaced.

    Raises:
        InputError: it cannot be made, it is taken and may not be replaced, or it holds something
            that is no run.
    """
    writable(folder, "folder for the run (--runs)")
    if taken(folder) and overwrite and folder.is_symlink():
        raise Taken(
            f"{folder} is a link, and --overwrite does not empty what is behind it; name the "
            "folder itself, or choose another name (name=...)"
        )
    if taken(folder) and not overwrite:
        try:
            manifest.refuse_damaged(folder, CHANGED, _CONFIG)
        except InputError as error:
            raise Taken(str(error)) from None
        raise Taken(
            f"{folder} exists, and finished work is not overwritten; choose another name "
            "(name=...), or replace it with --overwrite (overwrite=True in Python)"
        )
    if taken(folder) and not (folder / _CONFIG).is_file():
        raise Taken(
            f"{folder} holds no run (it has no {_CONFIG}), so it is not overwritten; choose "
            "another name (name=...), or remove it yourself"
        )
    return folder


@contextmanager
def claimed(
    folder: Path,
    *,
    overwrite: bool = False,
    numbered: bool = False,
    search: RunConfig | None = None,
) -> Iterator[Path]:
    """Give a folder that nobody else works in, and that nobody else is given while the body runs.

    What it holds stays until `fill`. A folder that was made for the body and that this did not fill
    is removed again.

    Args:
        folder: of the run.
        overwrite: the run that it holds may be replaced.
        numbered: the first of `folder`, `folder-2`, `folder-3`, ... that is free.
        search: a folder with a search of this configuration that was stopped is as good as free.

    Raises:
        InputError: it is taken, another process works in it, or it cannot be made.
    """
    for number in count(1):
        place = folder if number == 1 else folder.with_name(f"{folder.name}-{number}")
        with ExitStack() as held:
            try:
                held.enter_context(_claim(place, overwrite, search))
            except (Taken, lock.Busy):
                if numbered:
                    continue
                raise
            yield place
            return


@contextmanager
def _claim(folder: Path, overwrite: bool, search: RunConfig | None) -> Iterator[None]:
    """Lock a folder, made if need be, that is free or may be replaced or gone on with."""

    def refuse_taken() -> None:
        if search is None or not stopped_search(folder, search):
            vacant(folder, overwrite=overwrite)

    refuse_taken()
    above = [place for place in (folder, *folder.parents) if not place.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with lock.locked(folder, "wait until it has ended, or give another name (name=...)"):
            refuse_taken()  # of two that came at once, one was first
            for place in (folder, *filter(Path.is_dir, folder.rglob("*"))):
                sweep(place)
            yield
    finally:
        if above and not taken(folder):
            (folder / lock.LOCK).unlink(missing_ok=True)
            with suppress(OSError):  # somebody else has come
                for place in above:
                    place.rmdir()


def stopped_search(folder: Path, config: RunConfig) -> bool:
    """Return whether a folder holds a search of a configuration that was begun and not finished."""
    if not os.path.isfile(folder / _CONFIG) or not manifest.whole(folder / _CONFIG):
        return False
    if os.path.lexists(folder / RESULTS) or _saved(folder):
        return False
    return not _differing(folder / _CONFIG, config)


def _saved(folder: Path) -> bool:
    """Return whether a folder holds a search that was saved to the end: its manifest names it."""
    if not os.path.lexists(folder / _SEARCHED):
        return False
    return not (known := manifest.names(folder)) or _SEARCHED in known


def fill(folder: Path, config: RunConfig) -> None:
    """Leave the resolved configuration in a folder that is claimed, and nothing else."""
    lock.clear(folder)
    manifest.write_sealed(folder, {_CONFIG: config.to_yaml()})


def refuse_other(study: Study, *, overwrite: bool = False) -> None:
    """Refuse the folder of a run that holds something else.

    Args:
        study: that the run is.
        overwrite: another run that it holds may be replaced.

    Raises:
        InputError: it does, and what differs.
    """
    folder, config = study.folder, study.point
    if overwrite or not taken(folder):
        vacant(folder, overwrite=overwrite)
    elif not study.goes_on() and (folder / _CONFIG).is_file() and config is not None:
        manifest.refuse_damaged(folder, CHANGED, STUDY, _CONFIG)
        apart = _apart(folder / _CONFIG, config)
        raise InputError(
            f"{folder} holds another run ({apart}), and finished work is not overwritten; choose "
            "another name (name=...), or replace it with --overwrite (overwrite=True in Python)"
        )
    elif not study.goes_on():
        vacant(folder)


def _differing(file: Path, config: RunConfig) -> list[str]:
    """Return the keys in which the configuration of a folder differs, `runtime` and name aside."""
    try:
        held = RunConfig.load(file)
    except InputError:  # of another version of this tool
        return ["name"]
    theirs, ours = (_flat(one.model_dump(mode="json")) for one in (held, config))
    keys = [key for key in ours if theirs.get(key) != ours[key]]
    return [key for key in keys if not key.startswith(("runtime.", "name"))]


def _apart(file: Path, config: RunConfig) -> str:
    """Return in words where the configuration of a folder differs from another."""
    keys = _differing(file, config)
    if keys == ["name"]:
        return "of another version of this tool"
    more = f" and {len(keys) - _NAMED} more" if len(keys) > _NAMED else ""
    return f"it differs in {', '.join(keys[:_NAMED])}{more}" if keys else "of another version"


def _flat(content: Mapping[str, Any], above: str = "") -> dict[str, Any]:
    """Return dotted key -> value."""
    found: dict[str, Any] = {}
    for key, value in content.items():
        inner = isinstance(value, Mapping) and value
        found |= _flat(value, f"{above}{key}.") if inner else {f"{above}{key}": value}
    return found
