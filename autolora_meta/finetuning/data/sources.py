"""Where rows come from: embedded, files, folders, the hub, or objects; always splits by name."""

import os
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from datasets import Dataset, DatasetDict

from autolora_meta.errors import InputError, unknown
from autolora_meta.finetuning.data import (
    files,
    folder,
    hub,
    picture_folders,
    stdlib_chat,
    stdlib_docs,
)
from autolora_meta.finetuning.data.files import Layout
from autolora_meta.finetuning.data.options import DataOptions
from autolora_meta.finetuning.data.part import Part
from autolora_meta.finetuning.data.roles import Role
from autolora_meta.finetuning.hub import (
    could_be_id,
    is_slip_of,
    names_in,
    nearest,
    path_of,
    slip_in_path,
)
from autolora_meta.foundation.progress import Say
from autolora_meta.foundation.reading import refuse_special

# Seconds to read, and the same for every replicate.
EMBEDDED = {"stdlib-docs": cache(stdlib_docs.load), "stdlib-chat": cache(stdlib_chat.load)}
Given = Dataset | DatasetDict | Mapping[str, Dataset]


def read(
    options: DataOptions, roles: Sequence[Role], given: Given | None, say: Say
) -> dict[str, Part]:
    """Return every split of the source, with the source's own columns.

    Args:
        options: where the rows are.
        roles: what the task reads, which says what text files hold.
        given: rows at hand, read in the place of `options.source`.
        say: told what of the source is not read.

    Raises:
        InputError: the source is not there or cannot be read, or a split that was named is not
            there.
    """
    found = _parts(given) if given is not None else _read(options, roles, say)
    if options.splits is None:
        return found
    for key, name in options.splits.items():
        if name not in found:
            raise InputError(f"data.splits.{key}: {unknown('split', name, found)}")
    return {key: found[name] for key, name in options.splits.items()}


def _read(options: DataOptions, roles: Sequence[Role], say: Say) -> dict[str, Part]:
    named = {role.name: getattr(options, role.name, None) for role in roles}
    laid_out = files.layout(roles, named, say)
    if not isinstance(options.source, str):
        return {
            split: _named(_there(source), laid_out, split)
            for split, source in options.source.items()
        }
    source = options.source
    if source in EMBEDDED:
        return _parts(EMBEDDED[source]())
    if not (os.path.exists(path_of(source)) or _looks_like_path(source)):
        return _parts(hub.load(source, options.name, options.revision))
    path = _there(source)
    if path.is_file():
        return {"train": files.read(path, laid_out, "train")}
    if hub.is_saved(path):
        return _parts(hub.load_saved(path))
    return folder.read(path, laid_out, options.name)


def _named(path: Path, laid_out: Layout, split: str) -> Part:
    """Return the rows of the file or folder that was named for one split."""
    if path.is_file():
        return files.read(path, laid_out, split)
    if laid_out.pictures and picture_folders.with_pictures(path):
        return picture_folders.classes(path, split, laid_out.say)
    raise InputError(
        f"data.source.{split} '{path}' is a folder; give a file"
        + (", or a folder with a folder of pictures for each class" if laid_out.pictures else "")
    )


def _looks_like_path(source: str) -> bool:
    """Return whether a source that is not here was meant to be; else it is one of the hub."""
    if Path(source).suffix.lower() in files.ENDINGS or not could_be_id(source):
        return True
    stems = [Path(name).stem for name in names_in(".") if _holds_rows(name)]
    slip = is_slip_of(source, [*EMBEDDED, *stems]) or slip_in_path(source, _holds_rows)
    return source in stems or slip is not None


def _holds_rows(path: str) -> bool:
    return Path(path).suffix.lower() in files.ENDINGS or os.path.isdir(path)


def _there(source: str) -> Path:
    path = Path(os.path.expanduser(source))
    if os.path.isfile(path) or os.path.isdir(path):
        return path
    if os.path.exists(path):
        refuse_special(path)
    slip = is_slip_of(source, [*EMBEDDED])
    near = f"did you mean '{slip}'?" if slip else nearest(source, _holds_rows, "data file")
    raise InputError(
        f"data.source '{source}' does not exist: there is no such file or folder ({near})"
    )


def _parts(given: Given) -> dict[str, Part]:
    splits: Any = {"train": given} if isinstance(given, Dataset) else given
    if not isinstance(splits, Mapping) or not splits:
        raise InputError(
            f"data is a {type(given).__name__}; allowed are a datasets.Dataset, a DatasetDict, or "
            f"a mapping from train, validation and test to a Dataset{_instead(given)}"
        )
    parts: dict[str, Part] = {}
    for split, rows in splits.items():
        if not isinstance(rows, Dataset):
            raise InputError(
                f"split '{split}' is a {type(rows).__name__}; allowed is a datasets.Dataset"
                f"{_instead(rows)}"
            )
        if rows.format["type"] == "custom":
            raise InputError(
                f"split '{split}' has a transform (set_transform), which is not applied here; make "
                "its columns with Dataset.map, and take it off with Dataset.reset_format"
            )
        # As plain values, however they were formatted (torch, numpy, pandas, arrow, ...).
        parts[str(split)] = Part(rows.with_format(None), str(split))
    return parts


def _instead(given: object) -> str:
    """Say how what was given becomes a Dataset, where that is known."""
    ways = {
        "IterableDataset": "Dataset.from_list(list(rows))",
        "DataFrame": "Dataset.from_pandas(frame)",
        "list": "Dataset.from_list(rows)",
        "Table": "Dataset(table)",
    }
    way = ways.get(type(given).__name__)
    return f"; {way} makes one" if way else ""
