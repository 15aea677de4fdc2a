"""Peak memory of a piece of work, over what was in use before it."""

import ctypes
import errno
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import torch

_STATUS, _REFERENCES = Path("/proc/self/status"), Path("/proc/self/clear_refs")
_CGROUP = Path("/sys/fs/cgroup/memory.max")


# How torch and its allocators say it, where they raise no exception of its own.
_LACKED = re.compile(r"can't allocate memory|out of memory|CUBLAS_STATUS_ALLOC_FAILED", re.I)


def lacked(error: Exception) -> bool:
    """Return whether an error says that memory did not suffice, of the host or of the device.

    >>> lacked(MemoryError()), lacked(RuntimeError("CUDA out of memory")), lacked(RuntimeError())
    (True, True, False)
    """
    if isinstance(error, OSError):
        return error.errno == errno.ENOMEM
    return isinstance(error, MemoryError) or bool(_LACKED.search(str(error)))


@contextmanager
def peak(device: torch.device | str) -> Iterator[list[int]]:
    """Yield a list that holds, after the body, the bytes by which memory rose in it.

    On CUDA this is what torch allocated, on Linux the resident set of the process. Elsewhere
    nothing reliable is known, and the list stays empty.

    Args:
        device: where the work of the body runs.

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


def in_use(device: torch.device | str) -> int | None:
    """Return the bytes that this process holds there now; None where that is not known."""
    device = torch.device(device)
    if device.type == "cuda":
        return torch.cuda.memory_allocated(device)
    return _resident("VmRSS") if device.type == "cpu" and _STATUS.exists() else None


def room(device: torch.device | str) -> int | None:
    """Return the bytes that this process could hold there, what it holds counted; None: unknown.

    On a CPU that is what the system can give, or the limit of the container if that is less.
    """
    device, held = torch.device(device), in_use(device)
    if held is None:
        return None
    if device.type == "cuda":
        unused = torch.cuda.memory_reserved(device) - held
        return held + unused + torch.cuda.mem_get_info(device)[0]
    free = psutil.virtual_memory().available
    if (limit := _limit()) is not None:
        return min(held + free, limit)
    return held + free


def _limit() -> int | None:
    """Return the limit of the container (cgroup), if there is one."""
    try:
        said = _CGROUP.read_text().strip()
    except OSError:
        return None
    return int(said) if said.isdigit() else None


def _give_back() -> None:
    """Return free memory to the system: work that reused it would seem to need less."""
    if trim := getattr(ctypes.CDLL(None), "malloc_trim", None):  # glibc's
        trim(0)


def _resident(field: str) -> int:
    line = next(x for x in _STATUS.read_text().splitlines() if x.startswith(field))
    return int(line.split()[1]) * 1024
