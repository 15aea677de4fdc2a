"""A folder becomes splits: one file a split, shards, a hub repository's layout, or pictures."""

import re
from pathlib import Path

from datasets import concatenate_datasets

from autolora_meta.errors import InputError
from autolora_meta.finetuning.data import files, picture_folders
from autolora_meta.finetuning.data.files import Layout
from autolora_meta.finetuning.data.part import Part
from autolora_meta.finetuning.data.split_names import split_of

_SHARD = re.compile(r"(.+)-\d+-of-\d+")


def read(folder: Path, laid_out: Layout, name: str | None) -> dict[str, Part]:
    """Return the splits that a folder holds.

    Where there are folders that are called as the configuration `name`, or `data`, the files are
    looked for there, as in a repository of the hub. `train-00000-of-00002.parquet` is the first of
    two shards. Where the task reads pictures a class is a folder of them.

    Raises:
        InputError: no file has the name of a split, or a split stands there twice.
    """
    if laid_out.pictures and (found := picture_folders.splits(folder, laid_out.say)):
        return found
    below = [folder / part for part in (name, "data") if part and (folder / part).is_dir()]
    by_split: dict[str, list[Path]] = {}
    others: list[str] = []
    for path in sorted((below or [folder])[0].iterdir()):
        readable = path.suffix.lower() in files.ENDINGS and not path.name.startswith(".")
        if readable and path.is_file():
            shard = _SHARD.fullmatch(path.stem)
            stem = (shard[1] if shard else path.stem).lower()
            split = split_of(stem) or (stem if shard else None)
            if split:
                by_split.setdefault(split, []).append(path)
            else:
                others.append(path.name)
    for split, paths in by_split.items():
        if len(paths) > 1 and not all(_SHARD.fullmatch(path.stem) for path in paths):
            shown = ", ".join(path.name for path in paths)
            raise InputError(
                f"data.source '{folder}' holds several files for '{split}': {shown}; keep one, or "
                "name the files: data.source.train=... data.source.test=..."
            )
    if not by_split:
        raise InputError(
            f"data.source '{folder}' is a folder without a train file; allowed: train, validation "
            f"and test with the ending {', '.join(files.ENDINGS)}, shards of them "
            "(train-00000-of-00002.parquet), what save_to_disk writes, or, for pictures, a folder "
            "for each class; or name the files: data.source.train=... data.source.test=..."
        )
    if others:
        laid_out.say(f"files whose names say no split, not read: {', '.join(others)}")
    return {split: _joined(paths, laid_out, split) for split, paths in by_split.items()}


def _joined(paths: list[Path], laid_out: Layout, split: str) -> Part:
    parts = [files.read(path, laid_out, split) for path in paths]
    try:
        rows = concatenate_datasets([part.rows for part in parts])
    except ValueError as error:
        named = ", ".join(path.name for path in paths)
        raise InputError(f"{named} cannot be put together: {error}; mend their columns") from None
    return parts[0] if len(parts) == 1 else Part(rows, split)
