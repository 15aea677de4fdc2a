"""The folder of a run: free, taken or replaced; finished work is never lost by accident."""

import os
import shutil
from collections.abc import Mapping
from itertools import count
from pathlib import Path
from typing import Any

from autolora_meta.config.run import RunConfig
from autolora_meta.errors import InputError
from autolora_meta.foundation.places import writable
from autolora_meta.studies.study import Study

_CONFIG = "config.yaml"
_NAMED = 4  # keys in a message


def taken(folder: Path) -> bool:
    """Return whether anything stands at the place of a folder that is to be made."""
    return os.path.lexists(folder) and not (folder.is_dir() and not any(folder.iterdir()))


def free(folder: Path) -> Path:
    """Return `folder`, or the first of `folder-2`, `folder-3`, ... that nothing has taken."""
    if not taken(folder):
        return folder
    numbered = (folder.with_name(f"{folder.name}-{i}") for i in count(2))
    return next(place for place in numbered if not taken(place))


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
    if taken(folder) and not overwrite:
        raise InputError(
            f"{folder} exists, and finished work is not overwritten; choose another name "
            "(name=...), or replace it with --overwrite (overwrite=True in Python)"
        )
    if taken(folder) and not (folder / _CONFIG).is_file():
        raise InputError(
            f"{folder} holds no run (it has no {_CONFIG}), so it is not overwritten; choose "
            "another name (name=...), or remove it yourself"
        )
    return folder


def made(folder: Path, config: RunConfig) -> Path:
    """Return a folder with the resolved configuration in it, and nothing else."""
    if folder.exists():
        shutil.rmtree(folder)
    folder.mkdir(parents=True)
    (folder / _CONFIG).write_text(config.to_yaml(), encoding="utf-8")
    return folder


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
        apart = _apart(folder / _CONFIG, config)
        raise InputError(
            f"{folder} holds another run ({apart}), and finished work is not overwritten; choose "
            "another name (name=...), or replace it with --overwrite (overwrite=True in Python)"
        )
    elif not study.goes_on():
        vacant(folder)


def _apart(file: Path, config: RunConfig) -> str:
    """Return where the configuration of a folder differs from another."""
    try:
        held = RunConfig.load(file)
    except InputError:
        return "of another version of this tool"
    theirs, ours = (_flat(one.model_dump(mode="json")) for one in (held, config))
    keys = [key for key in ours if theirs.get(key) != ours[key]]
    keys = [key for key in keys if not key.startswith(("runtime.", "name"))]
    more = f" and {len(keys) - _NAMED} more" if len(keys) > _NAMED else ""
    return f"it differs in {', '.join(keys[:_NAMED])}{more}" if keys else "of another version"


def _flat(content: Mapping[str, Any], above: str = "") -> dict[str, Any]:
    """Return dotted key -> value."""
    found: dict[str, Any] = {}
    for key, value in content.items():
        inner = isinstance(value, Mapping) and value
        found |= _flat(value, f"{above}{key}.") if inner else {f"{above}{key}": value}
    return found
