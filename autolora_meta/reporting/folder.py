"""The folder of a run: free, taken or replaced; finished work is never lost by accident."""

import os
import shutil
from itertools import count
from pathlib import Path

from autolora_meta.config.run import RunConfig
from autolora_meta.errors import InputError
from autolora_meta.foundation.places import writable


def free(folder: Path) -> Path:
    """`folder`, or the first of `folder-2`, `folder-3`, ... that nothing has taken."""
    if not _taken(folder):
        return folder
    numbered = (folder.with_name(f"{folder.name}-{i}") for i in count(2))
    return next(place for place in numbered if not _taken(place))


def vacant(folder: Path, *, overwrite: bool = False) -> Path:
    """`folder`, if a run may go into it.

    Args:
        folder: of the run.
        overwrite: the run that it holds may be replaced.

    Raises:
        InputError: it cannot be made, it is taken and may not be replaced, or it holds something
            that is no run.
    """
    writable(folder, "folder for the run (--runs)")
    if _taken(folder) and not overwrite:
        raise InputError(
            f"{folder} exists, and finished work is not overwritten; choose another name "
            "(name=...), or replace it with --overwrite (overwrite=True in Python)"
        )
    if _taken(folder) and not (folder / "config.yaml").is_file():
        raise InputError(
            f"{folder} holds no run (it has no config.yaml), so it is not overwritten; choose "
            "another name (name=...), or remove it yourself"
        )
    return folder


def made(folder: Path, config: RunConfig) -> Path:
    """A run folder with the resolved configuration in it, and nothing else."""
    if folder.exists():
        shutil.rmtree(folder)
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text(config.to_yaml(), encoding="utf-8")
    return folder


def _taken(folder: Path) -> bool:
    return os.path.lexists(folder) and not (folder.is_dir() and not any(folder.iterdir()))
