"""What `from_pretrained` is kept from, and what it stumbled over in words."""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from transformers.utils import logging as transformers_logging

from autolora_meta.errors import InputError
from autolora_meta.foundation.disk import unwritten
from autolora_meta.foundation.memory import lacked

_PICKLES = re.compile(r"pytorch_model.*\.bin|.*\.(pt|pth|ckpt)")
_FAMILIAR = (OSError, ValueError, RuntimeError)  # whose messages stand for themselves
_LINES = 2  # of a message: some name the field in the first, and what is wrong in the second


@contextmanager
def quiet_loading() -> Iterator[None]:
    """Run the body without progress bars, and without the warning that the head is new."""
    verbosity = transformers_logging.get_verbosity()
    bars = transformers_logging.is_progress_bar_enabled()
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        transformers_logging.set_verbosity(verbosity)
        if bars:
            transformers_logging.enable_progress_bar()


def refuse_pickled(folder: Path, name: str) -> None:
    """Refuse a folder of a model whose weights are a pickle alone, which can run code.

    Args:
        folder: of the model.
        name: what a person calls it, for the message.

    Raises:
        InputError: it is one; the message says how to convert it.
    """
    names = sorted(path.name for path in folder.iterdir())
    pickles = [one for one in names if _PICKLES.fullmatch(one)]
    if pickles and not any(one.endswith(".safetensors") for one in names):
        model = f"transformers.{_class(folder)}.from_pretrained({name!r})"
        raise InputError(
            f"model.name '{name}' holds its weights in {pickles[0]}, a pickle, which can run code "
            "and is not read; where you trust its authors, write them as safetensors once: "
            f"{model}.save_pretrained({name!r})"
        )


def reason(error: Exception) -> str:
    """Return what an error of `from_pretrained` says, in a line.

    One that says that memory or a disk did not suffice is raised again.
    """
    if lacked(error) or unwritten(error):
        raise error
    lines = [line.strip() for line in str(error).splitlines() if line.strip()][:_LINES]
    kind = type(error).__name__
    if not lines:
        return kind
    return " ".join(lines) if isinstance(error, _FAMILIAR) else f"{kind}: {' '.join(lines)}"


def _class(folder: Path) -> str:
    """Return the class that the configuration of a model names."""
    try:
        named = str(json.loads((folder / "config.json").read_bytes())["architectures"][0])
    except (OSError, ValueError, KeyError, IndexError, TypeError, RecursionError):
        return "AutoModel"
    return named if named.isidentifier() else "AutoModel"
