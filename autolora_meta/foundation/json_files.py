"""The JSON files of runs and studies: what does not fit its schema is refused."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, StringConstraints, TypeAdapter, ValidationError, WrapValidator

from autolora_meta.errors import InputError, shown
from autolora_meta.foundation.places import naming, replace_text
from autolora_meta.foundation.progress import Row
from autolora_meta.foundation.reading import content
from autolora_meta.foundation.sealed_lines import unsealed

Count = Annotated[int, Field(ge=0, le=2**53)]
Figure = Annotated[float, Field(allow_inf_nan=False)]
Size = Annotated[float, Field(ge=0, le=2**60, allow_inf_nan=False)]
# Part of a path, such as an arm or an id: it cannot lead to another folder.
Part = Annotated[str, StringConstraints(pattern=r"^[^/\\\x00]*[^/\\\x00.][^/\\\x00]*$")]

_WHAT = "is not what this tool writes"
_PUT_BACK = "put back what stood there, or remove it"


def _checked(value: Any, check: Callable[[Any], object]) -> Any:
    check(value)
    return value


# Of an object: as it stands, in its order, with the columns that its type does not name.
AS_IT_STANDS = WrapValidator(_checked)


def read_json(path: Path, kind: Any = Any, *, what: str = _WHAT, again: str = _PUT_BACK) -> Any:
    """Return what a JSON file holds.

    Args:
        path: of the file.
        kind: a type that pydantic knows; numbers and strings are not converted to it.
        what: what is to be said of a file that holds something else.
        again: how to mend the file, for the message.

    Raises:
        InputError: the file cannot be read, is not JSON, or holds something else.
    """
    try:
        return TypeAdapter(kind).validate_json(content(path), strict=True)
    except (OSError, ValueError) as error:
        raise _refusal(f"{path} {what}", error, again) from None


def read_rows(path: Path, kind: Any = dict[str, Any], *, again: str = _PUT_BACK) -> list[Any]:
    """Return the objects of a JSON lines file, without the hashes of sealed lines.

    A last line without a newline is still being written, and is left out; so is an empty one.

    Args:
        path: of the file.
        kind: of each row, as for `read_json`.
        again: how to mend the file, for the message.

    Raises:
        InputError: the file cannot be read, or a line is not JSON, holds something else, or is not
            the one that was written there.
    """
    each, found, number = TypeAdapter(kind), list[Any](), 0
    try:
        for number, line in enumerate(content(path).split(b"\n")[:-1]):
            if line:
                found.append(each.validate_json(unsealed(number, line), strict=True))
    except OSError as error:
        raise _refusal(f"{path} {_WHAT}", error, again) from None
    except ValueError as error:
        raise _refusal(f"{path}, line {number + 1}, {_WHAT}", error, again) from None
    return found


def begin_rows(file: Path) -> Callable[[Row], None]:
    """Begin a JSON lines file, and return a function that writes a row to it at once."""
    replace_text(file, "")

    def write(row: Row) -> None:
        with naming(file), file.open("ab") as opened:
            opened.write(f"{json.dumps(row)}\n".encode())

    return write


def _refusal(what: str, error: Exception, again: str) -> InputError:
    return InputError(f"{what} ({_reason(error)}); {again}")


def _reason(error: Exception) -> str:
    """Return what is wrong: of several mistakes the first, with its place."""
    if not isinstance(error, ValidationError):
        return getattr(error, "strerror", None) or str(error)
    first = error.errors(include_url=False)[0]
    place = ".".join(str(part) for part in first["loc"])
    message = first["msg"].removeprefix("Value error, ").replace("Input should", "should")
    given = shown(first["input"])
    if first["type"] == "json_invalid" or len(given) > 80:
        return f"{place}: {message}" if place else message
    return f"{place}: {message}; given {given}" if place else f"{message}; given {given}"
