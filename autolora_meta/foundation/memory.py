"""How much memory work takes beyond what stood there before it."""

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

_STATUS, _REFERENCES = Path("/proc/self/status"), Path("/proc/self/clear_refs")


@contextmanager
def peak(device: torch.device | str) -> Iterator[list[int]]:
    """A list that afterwards holds the bytes by which memory rose in the body, where known.

    On CUDA what torch allocates; of a CPU, on Linux, the resident set of the process; elsewhere
    nothing reliable, and the list stays empty.

    Args:
        device: where the body works.

    >>> with peak("cpu") as rose:
    ...     held = torch.ones(4 << 20)
    >>> not rose or rose[0] > 4 << 20  # bytes
    True
    """
    device, rose = torch.device(device), []
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        yield rose
        rose.append(torch.cuda.max_memory_allocated(device) - before)
    elif device.type == "cpu" and _REFERENCES.exists():
        _give_back()
        _REFERENCES.write_text("5")  # the peak of the resident set starts again from here
        before = _resident("VmRSS")
        yield rose
        rose.append(max(_resident("VmHWM") - before, 0))
    else:
        yield rose


def _give_back() -> None:
    """Let the system have what the allocator keeps free: work that reused it would seem small."""
    if trim := getattr(ctypes.CDLL(None), "malloc_trim", None):  # glibc's
        trim(0)


def _resident(field: str) -> int:
    line = next(x for x in _STATUS.read_text().splitlines() if x.startswith(field))
    return int(line.split()[1]) * 1024
