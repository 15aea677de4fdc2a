"""Pictures from a folder: those of a class stand in a folder of its name.

The imagefolder of `datasets` takes the innermost folder for the class, and leaves out a folder that
says no split, without a word; here both are refused.
"""

from pathlib import Path

from datasets import Dataset, Image

from autolora_meta.errors import InputError
from autolora_meta.finetuning.data.part import Part
from autolora_meta.finetuning.data.split_names import split_of
from autolora_meta.foundation.progress import Say

ENDINGS = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp")


def splits(folder: Path, say: Say) -> dict[str, Part]:
    """Return the splits of a folder of pictures; none where it is no such folder.

    It holds a folder for each class, or a folder for each split with one for each class; either may
    stand in one more folder. What is hidden is passed over.

    Raises:
        InputError: folders of splits stand beside others, or pictures where no class is.
    """
    folder = _unwrapped(folder, say)
    below = with_pictures(folder)
    named = {sub: split_of(sub.name) for sub in below}
    # Beside others a folder called train, without folders of its own, is a class: vehicles.
    if not all(named.values()) and not any(with_pictures(sub) for sub in below if named[sub]):
        return {"train": classes(folder, "train", say)} if len(below) > 1 else {}
    found: dict[str, Part] = {}
    for sub, split in named.items():
        if split is None or split in found:
            reason = "says no split" if split is None else f"is a second one for '{split}'"
            raise InputError(
                f"data.source '{folder}' holds folders of pictures for splits, "
                f"{', '.join(sub.name for sub in named)}, and '{sub.name}' {reason}; take it out, "
                "or name the folders: data.source.train=... data.source.test=..."
            )
        found[split] = classes(sub, split, say)
    return found


def classes(folder: Path, split: str, say: Say) -> Part:
    """Return the columns image and label of a folder of classes, in the order of classes and files.

    Raises:
        InputError: there is no such folder, or pictures stand deeper than their class.
    """
    folder = _unwrapped(folder, say)
    found: list[tuple[str, str]] = []
    others: list[Path] = []
    empty: list[str] = []
    for sub in _folders(folder):
        if deeper := next((p for below in _folders(sub) for p in _pictures_below(below)), None):
            raise InputError(
                f"{deeper} stands a folder deeper than the class '{sub.name}'; put pictures right "
                f"into the folder of their class, or give a folder whose folders are the classes"
            )
        pictures = _pictures(sub)
        found += [(str(picture), sub.name) for picture in pictures]
        empty += [] if pictures else [sub.name]
        others += [
            path for path in _seen(sub) if path.is_file() and path.suffix.lower() not in ENDINGS
        ]
    stray = _pictures(folder)
    if not found:
        first = f", for example {stray[0]}" if stray else ""
        raise InputError(
            f"'{folder}' holds no folder of pictures for each class{first}; the folder that a "
            "picture stands in names its class"
        )
    others += stray
    if empty:
        say(f"folders without pictures, not read: {', '.join(empty)}")
    if others:
        say(f"{len(others)} files that are no pictures of a class not read, the first {others[0]}")
    columns = {"image": [path for path, _ in found], "label": [label for _, label in found]}
    return Part(Dataset.from_dict(columns).cast_column("image", Image()), split)


def with_pictures(folder: Path) -> list[Path]:
    """Return the folders right below `folder` that hold pictures, however deep."""
    return [sub for sub in _folders(folder) if _pictures_below(sub)]


def _unwrapped(folder: Path, say: Say) -> Path:
    """Return the folder that holds more than one more folder, as an archive often does."""
    inner = folder
    while (below := with_pictures(inner)) and len(below) == 1:
        if _pictures(below[0]) or split_of(below[0].name):
            break
        inner = below[0]
    if inner != folder:
        say(f"pictures are read from {inner}")
    return inner


def _pictures_below(folder: Path) -> list[Path]:
    return _pictures(folder) + [p for sub in _folders(folder) for p in _pictures_below(sub)]


def _pictures(folder: Path) -> list[Path]:
    return [path for path in _seen(folder) if path.suffix.lower() in ENDINGS and path.is_file()]


def _folders(folder: Path) -> list[Path]:
    """Return the folders in it; a link to a folder that it stands in leads back and is none."""
    return [
        path
        for path in _seen(folder)
        if path.is_dir()
        and not (path.is_symlink() and path.absolute().is_relative_to(path.resolve()))
    ]


def _seen(folder: Path) -> list[Path]:
    """Return what is not hidden, nor made by a Mac beside what it packs."""
    return sorted(
        path
        for path in folder.iterdir()
        if not path.name.startswith(".") and path.name != "__MACOSX"
    )
