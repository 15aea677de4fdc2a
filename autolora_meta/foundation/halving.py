"""Work on several things at a time, as many as memory allows."""

import logging
from collections.abc import Callable, Sequence
from typing import TypeVar

import torch

from autolora_meta.foundation.checkpoints import Checkpoints
from autolora_meta.foundation.memory import lacked

_LOG = logging.getLogger("autolora_meta")
_Given = TypeVar("_Given")
_Found = TypeVar("_Found")


def in_one_or_halves(
    several: Sequence[_Given],
    work: Callable[[Sequence[_Given], Checkpoints | None], list[_Found]],
    checkpoints: Checkpoints | None,
    device: torch.device | str,
    named: str,
    *,
    whole: bool = True,
) -> list[_Found | Exception]:
    """Return what `work` gives for several at a time, or for halves where memory does not suffice.

    Args:
        several: at least one.
        work: returns one for each; given where to save on the way.
        checkpoints: of all; those of halves are below.
        device: that it runs on.
        named: what they are, for the warning.
        whole: these are all that there are.

    Returns:
        What `work` returns for each; for one that alone is too large, how memory failed it.

    Raises:
        MemoryError, RuntimeError, OSError: memory does not suffice, and there is one alone.
    """
    try:
        return [*work(several, checkpoints)]
    except (MemoryError, RuntimeError, OSError) as error:
        if not lacked(error) or (whole and len(several) == 1):
            raise
        if len(several) == 1:
            return [error.with_traceback(None)]  # which would hold on to tensors
    # Here, where no frame of the work that failed holds on to its tensors.
    if torch.device(device).type == "cuda":
        torch.cuda.empty_cache()
    half = len(several) // 2
    count, most = len(several), len(several) - half
    _LOG.warning("memory does not suffice for %d %s at a time: %d at a time", count, named, most)
    return [
        found
        for number, part in enumerate((several[:-half], several[-half:]))
        for found in in_one_or_halves(
            part,
            work,
            checkpoints and checkpoints.below(f"half-{number}"),
            device,
            named,
            whole=False,
        )
    ]
