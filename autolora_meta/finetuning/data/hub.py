"""Data sets of the hub, and folders written by `Dataset.save_to_disk`."""

from pathlib import Path

import datasets
import pyarrow as pa
from datasets import Dataset, DatasetDict
from datasets.exceptions import DatasetGenerationError

from autolora_meta.errors import InputError


def load(source: str, name: str | None = None, revision: str | None = None) -> DatasetDict:
    """All splits of a data set on the hub.

    Raises:
        InputError: it is not there, its configuration is unknown, or there is no network.
    """
    try:
        loaded = datasets.load_dataset(source, name, revision=revision)
    # The hub's own errors are of the first three kinds.
    except (OSError, ValueError, RuntimeError, DatasetGenerationError) as error:
        wanted = f"'{source}'" + (f" (name '{name}')" if name else "")
        raise InputError(
            f"data.source {wanted} is no path here and could not be loaded from the hub: "
            f"{str(error).strip().splitlines()[0]}; give the path of a file or folder, "
            "'stdlib-docs', or a hub id (check its spelling, data.name, and the network)"
        ) from None
    return _splits(loaded, source)


def is_saved(folder: Path) -> bool:
    """Whether `folder` was written by `save_to_disk`."""
    return any((folder / name).is_file() for name in ("dataset_dict.json", "dataset_info.json"))


def load_saved(folder: Path) -> DatasetDict:
    """All splits of what `save_to_disk` wrote.

    Raises:
        InputError: it is broken.
    """
    try:
        return _splits(datasets.load_from_disk(str(folder)), str(folder))
    except (OSError, ValueError, KeyError, pa.ArrowException) as error:
        raise InputError(
            f"data.source '{folder}' was written by save_to_disk and cannot be read: {error}; save "
            "it again"
        ) from None


def _splits(loaded: object, source: str) -> DatasetDict:
    if isinstance(loaded, DatasetDict):
        return loaded
    if isinstance(loaded, Dataset):
        return DatasetDict({"train": loaded})
    raise InputError(f"data.source '{source}' gives {type(loaded).__name__}, not rows in memory")
