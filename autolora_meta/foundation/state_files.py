"""The state of long work in one file: tensors as safetensors, the rest as JSON in its header.

A file is named after the hash of its content, so that a damaged one is known by its name. It holds
no Python objects, and reading it runs no code.
"""

import hashlib
import json
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from autolora_meta.errors import InputError
from autolora_meta.foundation.places import replace_bytes

SUFFIX = ".safetensors"
_DIGITS = 16  # of the hash, in a name


def write_state(folder: Path, name: str, state: dict[str, Any]) -> Path:
    """Write a state, whole or not at all, and return its file.

    Args:
        folder: it is there.
        name: what the name of the file begins with.
        state: mappings, lists, tuples, tensors, numbers, strings and None, nested as you like; keys
            are strings or integers.

    Raises:
        TypeError: it holds something else.
    """
    tensors: dict[str, Tensor] = {}
    about = json.dumps(_plain(state, tensors))
    content = save(tensors, metadata={"state": about})
    digest = hashlib.sha256(content).hexdigest()[:_DIGITS]
    file = folder / f"{name}-{digest}{SUFFIX}"
    replace_bytes(file, content)
    return file


def read_state(file: Path) -> dict[str, Any]:
    """Return what `write_state` wrote, with all tensors on the CPU.

    Raises:
        InputError: the file is not what was written.
    """
    try:
        content = file.read_bytes()
    except OSError as error:
        raise InputError(f"{file} cannot be read ({error.strerror})") from None
    if not file.stem.endswith(f"-{hashlib.sha256(content).hexdigest()[:_DIGITS]}"):
        raise InputError(f"{file} is damaged: it is not what was written there; remove it")
    try:
        length = int.from_bytes(content[:8], "little")
        about = json.loads(content[8 : 8 + length])["__metadata__"]["state"]
        return _nested(json.loads(about), load(content))
    except (KeyError, TypeError, ValueError, RecursionError, SafetensorError) as error:
        raise InputError(
            f"{file} holds no state ({type(error).__name__}: {error}); remove it"
        ) from None


def _plain(value: Any, tensors: dict[str, Tensor]) -> Any:
    """Return `value` as JSON; its tensors go into `tensors`, and their names in their place."""
    if isinstance(value, Tensor):
        name = str(len(tensors))
        tensors[name] = value.detach().cpu().contiguous()
        return {"tensor": name}
    if isinstance(value, dict):
        return {"pairs": [[key, _plain(inner, tensors)] for key, inner in value.items()]}
    if isinstance(value, tuple):
        return {"tuple": [_plain(inner, tensors) for inner in value]}
    if isinstance(value, list):
        return [_plain(inner, tensors) for inner in value]
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise TypeError(f"a state holds tensors, numbers and strings, and this is {type(value)}")


def _nested(value: Any, tensors: dict[str, Tensor]) -> Any:
    """Return what `_plain` was given."""
    if isinstance(value, list):
        return [_nested(inner, tensors) for inner in value]
    if not isinstance(value, dict):
        return value
    ((kind, inner),) = value.items()
    if kind == "tensor":
        return tensors[inner]
    if kind == "tuple":
        return tuple(_nested(one, tensors) for one in inner)
    return {key: _nested(one, tensors) for key, one in inner}
