"""Where rows come from: embedded, files, folders, the hub, or objects; always splits by name."""

import os
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

from datasets import Dataset, DatasetDict

from autolora_meta.errors import InputError, unknown
from autolora_meta.finetuning.data import files, folder, hub, images, stdlib_docs
from autolora_meta.finetuning.data.files import Layout
from autolora_meta.finetuning.data.options import DataOptions
from autolora_meta.finetuning.data.part import Part
from autolora_meta.finetuning.data.roles import Role
from autolora_meta.finetuning.hub import could_be_id, is_slip_of, names_in, nearest, path_of

EMBEDDED = "stdlib-docs"
Given = Dataset | DatasetDict | Mapping[str, Dataset]


def read(
    options: DataOptions, roles: Sequence[Role], given: Given | None = None
) -> dict[str, Part]:
    """Every split of the source, with the source's own columns.

    Args:
        options: where the rows are.
        roles: what the task reads, which says what text files hold.
        given: rows at hand, read in the place of `options.source`.

    Raises:
        InputError: the source is not there or cannot be read, or a split that was named is not
            there.
    """
    found = _parts(given) if given is not None else _read(options, roles)
    if options.splits is None:
        return found
    for key, name in options.splits.items():
        if name not in found:
            raise InputError(f"data.splits.{key}: {unknown('split', name, found)}")
    return {key: found[name] for key, name in options.splits.items()}


def _read(options: DataOptions, roles: Sequence[Role]) -> dict[str, Part]:
    pictures = any(role.kind == "image" for role in roles)
    named = [getattr(options, role.name, None) for role in roles]
    laid_out = files.layout(roles, named)
    if not isinstance(options.source, str):
        return {
            split: _named(_there(source), laid_out, split, pictures)
            for split, source in options.source.items()
        }
    source = options.source
    if source == EMBEDDED:
        return _parts(_embedded())
    if not (os.path.exists(path_of(source)) or _looks_like_path(source)):
        return _parts(hub.load(source, options.name, options.revision))
    path = _there(source)
    if path.is_file():
        return {"train": files.read(path, laid_out, "train")}
    if hub.is_saved(path):
        return _parts(hub.load_saved(path))
    return folder.read(path, laid_out, options.name, pictures)


def _named(path: Path, laid_out: Layout, split: str, pictures: bool) -> Part:
    """The rows of the file or folder that was named for one split."""
    if path.is_file():
        return files.read(path, laid_out, split)
    if pictures and images.is_class_folder(path):
        return Part(images.read(path), split)
    raise InputError(
        f"data.source.{split} '{path}' is a folder; give a file"
        + (", or a folder with a folder of pictures for each class" if pictures else "")
    )


def _looks_like_path(source: str) -> bool:
    """Whether a source that is not here was meant to be; else it is one of the hub."""
    if Path(source).suffix.lower() in files.READERS or not could_be_id(source):
        return True
    here = list(filter(_holds_rows, names_in(".")))
    stems = [Path(name).stem for name in here]
    return source in stems or is_slip_of(source, [EMBEDDED, *here, *stems]) is not None


def _holds_rows(path: str) -> bool:
    return Path(path).suffix.lower() in files.READERS or os.path.isdir(path)


def _there(source: str) -> Path:
    path = Path(os.path.expanduser(source))
    if os.path.exists(path):
        return path
    slip = is_slip_of(source, [EMBEDDED])
    near = f"did you mean '{slip}'?" if slip else nearest(source, _holds_rows, "data file")
    raise InputError(
        f"data.source '{source}' does not exist: there is no such file or folder ({near})"
    )


def _parts(given: Given) -> dict[str, Part]:
    splits = {"train": given} if isinstance(given, Dataset) else given
    if not isinstance(splits, Mapping) or not splits:
        raise InputError(
            f"data is a {type(given).__name__}; allowed are a datasets.Dataset, a DatasetDict, or "
            "a mapping from train, validation and test to a Dataset"
        )
    for split, rows in splits.items():
        if not isinstance(rows, Dataset):
            raise InputError(
                f"split '{split}' is a {type(rows).__name__}; allowed is a datasets.Dataset"
            )
    return {str(split): Part(rows, str(split)) for split, rows in splits.items()}


@cache  # seconds to read, and the same for every replicate that a process works on
def _embedded() -> DatasetDict:
    return stdlib_docs.load()
