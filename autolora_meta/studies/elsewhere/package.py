"""Packages that only some executors need."""

from importlib import import_module
from importlib.util import find_spec
from typing import Any

from autolora_meta.errors import InputError


def package(name: str, extra: str) -> Any:
    """Import a package.

    Args:
        name: of the module.
        extra: of this package, that installs it.

    Raises:
        InputError: it is not installed.
    """
    if find_spec(name) is None:
        raise InputError(
            f"executor '{extra}' needs {name}, which is not installed; install it "
            f'(pip install "autolora-meta[{extra}]"), or take another executor'
        )
    return import_module(name)
