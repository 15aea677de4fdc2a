"""One picture: whether it can be read to its end, and pictures of more than 8 bits."""

from io import BytesIO

import numpy as np
from PIL import Image as Pillow

from autolora_meta.errors import InputError

ENDINGS = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp")
_DEEP = ("I", "F")  # how the names of such modes begin
# White in masks and fractions, and in pictures of 8, 10, 12, 14 and 16 bits.
_FULL = (1, 255, 1023, 4095, 16383, 65535)


def refuse_broken(content: str | bytes) -> str:
    """Read a picture as far as it takes to know that it is whole.

    Args:
        content: of a file, or its path.

    Returns:
        Its mode, as Pillow names it.

    Raises:
        InputError: it is not there, no picture, or breaks off.
    """
    try:
        with Pillow.open(_file(content)) as picture:
            mode = picture.mode
            coarse = not is_deep(mode) and ";16" in str(picture.tile)
            if picture.format == "PNG":
                picture.verify()  # its checksums, to the end of the file
            else:
                picture.draft("L", (1, 1))  # a JPEG: read to its end, and little computed
                picture.load()
    except Exception as error:  # whatever the parser of a format stumbles over
        which = content if isinstance(content, str) else "it"
        raise InputError(f"{which} cannot be read as a picture: {error}") from None
    if coarse:
        _refuse_dark(content)
    return mode


def is_deep(mode: str) -> bool:
    """Whether a channel has more than 8 bits, which Pillow would cut off at 255, at white."""
    return mode.startswith(_DEEP)


def brightest(content: str | bytes) -> float:
    """The largest value of a deep picture.

    Raises:
        InputError: a value is negative, not finite, above that of 16 bits, or a fraction above 1.
    """
    values = _values(content)
    low, high = float(values.min()), float(values.max())
    fractions = high > 1 and bool((values != np.floor(values)).any())
    if not (low >= 0 and high <= _FULL[-1]) or fractions:
        which = content if isinstance(content, str) else "it"
        raise InputError(
            f"{which} is a picture of values from {low:g} to {high:g}; allowed are whole numbers "
            f"from 0 to {_FULL[-1]}, or fractions up to 1: scale it to 8 or 16 bits"
        )
    return high


def white(largest: float) -> int:
    """The value that is white in deep pictures whose largest value is this.

    >>> white(0.5), white(200), white(4000), white(5000)
    (1, 255, 4095, 16383)
    """
    return next(full for full in _FULL if largest <= full)


def eight_bits(content: str | bytes, full: int) -> bytes:
    """A deep picture as a PNG of 8 bits, in which `full` is white."""
    scaled = np.rint(_values(content).astype(np.float64) * (255 / full))
    file = BytesIO()
    Pillow.fromarray(scaled.astype(np.uint8)).save(file, "PNG")
    return file.getvalue()


def _refuse_dark(content: str | bytes) -> None:
    """Refuse a picture of 16 bits in colour of which Pillow, reading the upper 8, leaves little.

    Raises:
        InputError: it is.
    """
    with Pillow.open(_file(content)) as picture:
        brightest = int(np.asarray(picture).max())
    if brightest < 64:  # of 255: what 14 bits reach in 16
        which = content if isinstance(content, str) else "it"
        raise InputError(
            f"{which} is a picture of 16 bits in colour with values up to {256 * brightest + 255} "
            "alone, which would be nearly black; scale it to 8 bits"
        )


def _values(content: str | bytes) -> np.ndarray:
    with Pillow.open(_file(content)) as picture:
        return np.asarray(picture)


def _file(content: str | bytes) -> str | BytesIO:
    return content if isinstance(content, str) else BytesIO(content)
