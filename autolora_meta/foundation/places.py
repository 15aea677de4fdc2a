"""Places on disk to write to, checked before the work begins."""

import os
from pathlib import Path
from tempfile import TemporaryDirectory

from autolora_meta.errors import InputError

# What is written below a folder has names of its own, and stands beside its place until then.
_BELOW = Path("x" * 80, "x" * 80)
_BESIDE = ".{}-xxxxxxxx"


def unused(place: str | Path, option: str = "--output") -> Path:
    """Return `place` if nothing is there and a file or folder can be made there.

    Args:
        place: of a file or folder.
        option: the option that names it, for the message.

    Raises:
        InputError: something is there, or nothing can be made there.
    """
    if os.path.lexists(place):
        raise InputError(
            f"{place} exists, and finished work is not overwritten; give another {option}"
        )
    return writable(place, option)


def writable(place: str | Path, option: str = "--output") -> Path:
    """Return `place` if a file or folder can be made there, with the folders above it.

    This makes folders of the same names beside it, and removes them.

    Args:
        place: of a file or folder; what is there already does not matter.
        option: the option that names it, for the message.

    Raises:
        InputError: it cannot be made; the message gives the reason.
    """
    whole = Path(os.path.abspath(place))
    above = whole.parent
    while not os.path.lexists(above):
        above = above.parent
    reason = None
    if not above.is_dir():
        kind = "a file" if above.exists() else "a link to nothing"
        reason = f"{above} is {kind}; give a folder"
    try:
        if reason is None:
            with TemporaryDirectory(dir=above, prefix=".autolora-") as tried:
                inner = whole.parent.relative_to(above) / _BESIDE.format(whole.name) / _BELOW
                (tried / inner).mkdir(parents=True)
    except (OSError, ValueError) as error:
        reason = f"{getattr(error, 'strerror', None) or error} (tried in {above})"
    if reason is not None:
        raise InputError(f"nothing can be written to {place}: {reason}; give another {option}")
    return Path(place)
