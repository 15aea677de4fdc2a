"""Versions and machine that a result was computed with, without host names and paths."""

import json
import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

from autolora_meta.foundation import manifest
from autolora_meta.foundation.json_files import read_json

_PACKAGES = (
    "autolora-meta",
    "torch",
    "transformers",
    "peft",
    "accelerate",
    "betty-ml",
    "datasets",
    "tokenizers",
    "numpy",
    "scipy",
    "matplotlib",
)
FILE = "environment.json"


def environment() -> dict[str, str]:
    """Return the versions of the packages that decide results, and what machine this is.

    >>> sorted(environment())[:3]
    ['Python', 'accelerate', 'accelerator']
    """
    found = {"Python": platform.python_version()}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:  # a checkout that was not installed
            found[name] = "not installed"
    return found | {
        "system": f"{platform.system()} {platform.machine()}",
        "processor": _processor(),
        "cores": str(_cores()),
        "memory": _memory(),
        "accelerator": _accelerator(),
    }


def record(folder: Path) -> None:
    """Write `environment.json` into `folder`."""
    manifest.write_sealed(folder, {FILE: json.dumps(environment(), indent=2) + "\n"})


def recorded(folder: Path) -> dict[str, str]:
    """Return what `record` wrote into `folder`; empty if it did not."""
    file = folder / FILE
    manifest.refuse_damaged(folder, manifest.AS_IT_IS, FILE)
    return read_json(file, dict[str, str]) if file.is_file() else {}


def _cores() -> int:
    """Return the number of cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _processor() -> str:
    table = Path("/proc/cpuinfo")  # Linux alone has it, and there alone platform does not know
    if table.is_file():
        for line in table.read_text(encoding="utf-8", errors="replace").splitlines():
            key, _, value = line.partition(":")
            if key.strip() == "model name":
                return value.strip()
    return platform.processor() or "unknown"


def _memory() -> str:
    if not hasattr(os, "sysconf") or "SC_PHYS_PAGES" not in os.sysconf_names:
        return "unknown"
    return f"{os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE') / 2**30:.0f} GiB"


def _accelerator() -> str:
    if torch.cuda.is_available():
        count = torch.cuda.device_count()
        return f"{count} x {torch.cuda.get_device_name(0)}"
    return "mps" if torch.backends.mps.is_available() else "none"
