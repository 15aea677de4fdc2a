"""Files to read: whole, and of the kind that ends."""

import stat
from pathlib import Path

from autolora_meta.errors import InputError

_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


def refuse_special(path: Path) -> None:
    """Refuse what is there and is no file: a pipe waits for a writer, a device may never end.

    Raises:
        InputError: it is such a thing.
        OSError: it is not there, or its name is too long.
    """
    kind = stat.S_IFMT(path.stat().st_mode)
    if kind != stat.S_IFREG:
        raise InputError(f"{path} is {_KINDS.get(kind, 'no file')}; give a file")


def content(path: Path) -> bytes:
    """Return the bytes of a file.

    Raises:
        InputError: it is a folder, a pipe or a device.
        OSError: it cannot be read.
    """
    refuse_special(path)
    return path.read_bytes()


def file_text(path: str | Path) -> str:
    """Return the text of a file.

    Raises:
        InputError: it is no file, or cannot be read as UTF-8.
    """
    try:
        return content(Path(path)).decode()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read as UTF-8 text: {error}") from None
