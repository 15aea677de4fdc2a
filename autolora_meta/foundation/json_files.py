"""The JSON files of runs and studies, read back."""

import json
from pathlib import Path
from typing import Any

from autolora_meta.errors import InputError


def read_json(path: Path) -> Any:
    """What a JSON file holds.

    Raises:
        InputError: it cannot be read, or is no JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise _refusal(path, error) from None


def read_rows(path: Path) -> list[dict[str, Any]]:
    """The objects of a file that holds one a line; a last line without an end is still written.

    Raises:
        InputError: it cannot be read, or a line is no JSON.
    """
    try:
        return [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n")[:-1]]
    except (OSError, ValueError) as error:
        raise _refusal(path, error) from None


def _refusal(path: Path, error: Exception) -> InputError:
    return InputError(
        f"{path} is not what this tool writes ({error}); put back what stood there, or remove it"
    )
