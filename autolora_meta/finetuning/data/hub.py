"""Data sets of the hub, and folders written by `Dataset.save_to_disk`."""

from pathlib import Path
from typing import Any

import datasets
from datasets.exceptions import DatasetGenerationError

from autolora_meta.errors import InputError
from autolora_meta.finetuning.data.part import refuse_damaged
from autolora_meta.foundation.disk import unwritten


def load(source: str, name: str | None = None, revision: str | None = None) -> Any:
    """Return the splits of a data set on the hub.

    Raises:
        InputError: it is not there, its configuration is unknown, or there is no network.
    """
    try:
        return datasets.load_dataset(source, name, revision=revision)
    # The hub's own errors are of the first three kinds.
    except (OSError, ValueError, RuntimeError, DatasetGenerationError) as error:
        if unwritten(error):
            raise
        wanted = f"'{source}'" + (f" (name '{name}')" if name else "")
        reason = (str(error).strip() or repr(error)).splitlines()[0]
        raise InputError(
            f"data.source {wanted} is no path here and could not be loaded from the hub: "
            f"{reason}; give the path of a file or folder, 'stdlib-docs', or a hub id "
            "(check its spelling, data.name, and the network)"
        ) from None


def is_saved(folder: Path) -> bool:
    """Return whether `folder` was written by `save_to_disk`."""
    return any((folder / name).is_file() for name in ("dataset_dict.json", "dataset_info.json"))


def load_saved(folder: Path) -> Any:
    """Return what `save_to_disk` wrote.

    Raises:
        InputError: it is broken.
    """
    try:
        found: Any = datasets.load_from_disk(str(folder))
        for rows in found.values() if isinstance(found, dict) else [found]:
            for batch in rows.data.to_batches():
                refuse_damaged(batch)
        return found
    except Exception as error:  # whatever `datasets` stumbles over in a broken file
        if unwritten(error):
            raise
        raise InputError(
            f"data.source '{folder}' was written by save_to_disk and cannot be read: {error}; save "
            "it again"
        ) from None
