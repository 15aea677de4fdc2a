"""Pictures from a folder: those of a class stand in a folder of its name."""

from pathlib import Path

from datasets import Dataset, Image
from PIL import Image as Pillow

from autolora_meta.errors import InputError

ENDINGS = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp")


def is_class_folder(folder: Path) -> bool:
    """Whether folders below `folder` hold pictures."""
    return any(_pictures(below) for below in folder.iterdir() if below.is_dir())


def read(folder: Path) -> Dataset:
    """The columns image and label, in the order of classes and files.

    Raises:
        InputError: a file cannot be read as a picture.
    """
    found = [
        (str(picture), below.name)
        for below in sorted(folder.iterdir())
        if below.is_dir()
        for picture in _pictures(below)
    ]
    for path, _ in found:
        refuse_broken(path)
    columns = {"image": [path for path, _ in found], "label": [label for _, label in found]}
    return Dataset.from_dict(columns).cast_column("image", Image())


def refuse_broken(path: str) -> None:
    """Read a picture's beginning, so that a broken file is known before training.

    Raises:
        InputError: it is not there, or no picture.
    """
    try:
        with Pillow.open(path) as picture:
            picture.verify()
    except (OSError, SyntaxError) as error:  # a SyntaxError is what a broken PNG raises
        raise InputError(f"{path} cannot be read as a picture: {error}") from None


def _pictures(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.suffix.lower() in ENDINGS)
