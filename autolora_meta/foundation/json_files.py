"""Reading the JSON files of runs and studies."""

import json
from pathlib import Path
from typing import Any

from autolora_meta.errors import InputError


def read_json(path: Path) -> Any:
    """Return what a JSON file holds.

    Raises:
        InputError: the file cannot be read, or is not JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise _refusal(path, error) from None


def read_rows(path: Path) -> list[dict[str, Any]]:
    """Return the objects of a JSON lines file.

    A last line without a newline is still being written, and is left out.

    Raises:
        InputError: the file cannot be read, or a line is not JSON.
    """
    try:
        return [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n")[:-1]]
    except (OSError, ValueError) as error:
        raise _refusal(path, error) from None


def _refusal(path: Path, error: Exception) -> InputError:
    return InputError(
        f"{path} is not what this tool writes ({error}); put back what stood there, or remove it"
    )
