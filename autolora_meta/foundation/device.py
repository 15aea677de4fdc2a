"""Where the work runs: a device that torch can use here."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from autolora_meta.errors import InputError

ALLOWED = "auto (CUDA where there is one), cpu, cuda, cuda:1 or mps"
_NAMES = re.compile(r"auto|cpu|mps|cuda(:\d+)?")


def known_device(name: str) -> str:
    """Return `name` if it names a device, whether or not this machine has it.

    Raises:
        InputError: `name` is not a device.
    """
    if not _NAMES.fullmatch(name):
        raise InputError(f"'{name}' is not a device; allowed: {ALLOWED}")
    return name


def usable_device(name: str) -> str:
    """Return the device that `name` stands for on this machine.

    Args:
        name: auto, cpu, cuda, cuda:N or mps.

    Raises:
        InputError: `name` is not a device, or torch cannot use it here.

    >>> usable_device("cpu")
    'cpu'
    """
    kind, _, index = known_device(name).partition(":")
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if kind == "auto":
        return "cuda" if count else "cpu"
    if kind == "cuda" and int(index or 0) >= count:
        raise InputError(
            f"the device is '{name}', and torch sees {count or 'no'} CUDA device"
            f"{'s' * (count > 1)} here; set runtime.device to cpu or auto"
        )
    if kind == "mps" and not torch.backends.mps.is_available():
        raise InputError(
            "the device is 'mps', and torch has no MPS here; set runtime.device to cpu or auto"
        )
    return name


def resolved_precision(precision: str, device: torch.device | str) -> str:
    """Return float32 or bf16: `auto` is bf16 where the device multiplies matrices of it faster.

    Those are GPUs from NVIDIA's Ampere on, and CPUs with matrix units (AMX).

    Args:
        precision: float32, bf16 or auto.
        device: that it is for.
    """
    if precision != "auto":
        return precision
    kind = torch.device(device).type
    if kind == "cuda":
        fast = torch.cuda.get_device_capability(device)[0] >= 8
    else:
        fast = kind == "cpu" and torch.cpu._is_amx_tile_supported()
    return "bf16" if fast else "float32"


def begin(device: torch.device | str) -> None:
    """Make a device ready, before anything is seeded for work on it.

    Until then torch only notes the seeds that CUDA is to get, and the last one counts: a seed that
    was given for something else and taken back. So the first work of a process would draw other
    dropout masks than the same work later.
    """
    if torch.device(device).type == "cuda":
        torch.cuda.init()


@contextmanager
def threads(count: int) -> Iterator[None]:
    """Run the body with `count` threads of torch, then restore their number."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
