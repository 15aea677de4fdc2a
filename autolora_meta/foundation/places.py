"""Places on disk that work is to be written to: found unfit before the work, not after it."""

import os
from pathlib import Path
from tempfile import TemporaryDirectory

from autolora_meta.errors import InputError

# What is written below a folder has names of its own, and stands beside its place until then.
_BELOW = Path("x" * 80, "x" * 80)
_BESIDE = ".{}-xxxxxxxx"


def unused(place: str | Path, option: str = "--output") -> Path:
    """`place`, if nothing is there and a file or folder can be made there.

    Args:
        place: of a file or folder.
        option: what names it, for the message.

    Raises:
        InputError: something is there, or it cannot be made.
    """
    if os.path.lexists(place):
        raise InputError(
            f"{place} exists, and finished work is not overwritten; give another {option}"
        )
    return writable(place, option)


def writable(place: str | Path, option: str = "--output") -> Path:
    """`place`, if a file or folder of that name can be made there now, folders above it included.

    It is tried: folders of the same names are made beside it, and removed.

    Args:
        place: of a file or folder; what is there already plays no part.
        option: what names it, for the message.

    Raises:
        InputError: it cannot be made; with the reason.
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
