"""Options: the base of every wing's options, and the messages about mistakes in them."""

import re
import types
import typing
from collections.abc import Mapping
from functools import cache
from typing import Annotated, Any, Self, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, ValidationError, model_validator
from pydantic_core import ErrorDetails

from autolora_meta.errors import InputError, shown, unknown
from autolora_meta.foundation.foreign_names import foreign
from autolora_meta.foundation.plain import refuse_odd


def _folder_name(value: str) -> str:
    # `..` would lead out of the runs, where --overwrite deletes.
    if not re.fullmatch(r"\w[\w.-]*", value) or len(value.encode()) > _LONGEST:
        raise ValueError(
            f"{shown(value)} cannot name a folder; allowed: letters, digits, '_', '-' and '.', "
            f"not '-' or '.' in front, and at most {_LONGEST} bytes"
        )
    return value


_LONGEST = 200  # of 255, since what is half done has a longer name
_STRONGEST = 1e30  # of numbers: a step of such a rate leaves float32
FolderName = Annotated[str, AfterValidator(_folder_name)]


class Options(BaseModel):
    """A section of a configuration. It refuses unknown keys; its fields carry their own help."""

    # A name such as 1 or 2024 is a number in YAML and means a name all the same.
    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        validate_default=True,
        allow_inf_nan=False,
        coerce_numbers_to_str=True,
    )

    @model_validator(mode="after")
    def _within_float32(self) -> Self:
        for name in type(self).model_fields:
            value = getattr(self, name)
            if isinstance(value, int | float) and abs(value) > _STRONGEST:
                raise ValueError(f"{name} {value:g} is too large a number; at most {_STRONGEST:g}")
        return self

    @classmethod
    def kept_under(cls, below: Any, above: Mapping[str, Any]) -> dict[str, Any]:
        """Return what remains of the section `below` when `above` is laid over it.

        Options in which one key decides which others are allowed override this.

        >>> Options.kept_under({"k": 4}, {"dropout": 0.1})
        {'k': 4}
        """
        return dict(below) if isinstance(below, Mapping) else {}


def one_of_two(below: Any, above: Mapping[str, Any], *names: str) -> dict[str, Any]:
    """Return what remains of a section where each of these fields takes the place of the others.

    >>> one_of_two({"steps": 70, "k": 2}, {"epochs": 3}, "steps", "epochs")
    {'k': 2}
    """
    kept = Options.kept_under(below, above)
    if any(above.get(name) is not None for name in names):
        kept = {key: value for key, value in kept.items() if key not in names}
    return kept


# Mark a field that came when results were already known by hashes of their options, and one that
# no result depends on.
LATER: dict[str, Any] = {"hashed": "when set"}
UNHASHED: dict[str, Any] = {"hashed": "never"}


def hashed(options: Options, include: set[str] | None = None) -> dict[str, Any]:
    """Return what a hash of options is taken of.

    A field marked `LATER` is left out at its default, so that a new option changes no hash where
    nobody sets it; one marked `UNHASHED` always.

    Args:
        options: a record, with its sections.
        include: names of the fields to take; None: all.
    """
    found = options.model_dump(mode="json", include=include)
    for path, mark, default in _marked(type(options)):
        section: Any = found
        for part in path[:-1]:
            section = section.get(part, {})
        if mark == "never" or section.get(path[-1], default) == default:
            section.pop(path[-1], None)
    return found


@cache
def _marked(options: type[Options]) -> tuple[tuple[tuple[str, ...], str, Any], ...]:
    """Return path, mark and default of each field marked `LATER` or `UNHASHED`."""
    found: list[tuple[tuple[str, ...], str, Any]] = []
    for name, field in options.model_fields.items():
        extra = field.json_schema_extra
        if isinstance(extra, Mapping) and (mark := extra.get("hashed")):
            found.append(((name,), str(mark), field.default))
        elif section := _section(field.annotation):
            found += [((name, *path), mark, value) for path, mark, value in _marked(section)]
    return tuple(found)


_NAMED = 20  # mistakes in a message

O = TypeVar("O", bound=Options)  # noqa: E741


def read(options: type[O], given: Mapping[str, Any], what: str) -> O:
    """Read options from a mapping.

    Args:
        options: the class to make.
        given: keys and values, sections nested.
        what: name of what is read, for the message.

    Raises:
        InputError: with every mistake at once: the place, the value, what is allowed.

    >>> read(GateOptions, {"constraint": "sofmax"}, "gates")  # doctest: +SKIP
    InputError: gates has a mistake:
      - constraint: should be 'softmax', 'sigmoid' or 'free' (given: 'sofmax')
    """
    refuse_odd(given, what)
    try:
        return options.model_validate(given)
    except ValidationError as error:
        found = error.errors()
    lines = list(dict.fromkeys(_line(mistake, options, given) for mistake in found[:_NAMED]))
    count = f"{len(lines)} mistakes" if len(lines) > 1 else "a mistake"
    if len(found) > _NAMED:
        count = f"{len(found)} mistakes, of which these are the first"
    raise InputError(f"{what} has {count}:\n" + "\n".join(f"  - {line}" for line in lines))


def _line(mistake: ErrorDetails, options: type[Options], given: Mapping[str, Any]) -> str:
    """Return a line about one mistake: its place, the value, what is allowed."""
    path = [str(part) for part in mistake["loc"]]
    place, value = ".".join(path), mistake["input"]
    section = section_at(options, path)
    if mistake["type"] == "extra_forbidden":
        return _unknown_key(options, path)
    if mistake["type"] == "missing":
        help = section and f"a section with {', '.join(section.model_fields)}"
        return f"{place} is missing: {help or _description(options, path) or 'a required key'}"
    if mistake["type"] == "model_type" and section is not None:
        keys_here = ", ".join(section.model_fields)
        return f"{place} is a section; allowed keys: {keys_here}{_given(value)}"
    if (leaf := _leaf(options, path)) < len(path):
        # Inside a value that may be of several kinds: said once, for the value as a whole.
        place, value = ".".join(path[:leaf]), _value(given, path[:leaf])
        allowed = _description(options, path[:leaf])
        return f"{place}: {shown(value)} is not allowed; allowed: {allowed}"
    message = mistake["msg"].removeprefix("Value error, ").replace("Input should", "should")
    if mistake["type"] == "tuple_type":
        message = "should be a list, such as [a, b]"
    elif mistake["type"] == "too_short":
        message = f"should have at least {mistake.get('ctx', {}).get('min_length', 1)}"
    # Our own messages name the value already.
    named = isinstance(value, Mapping) or f"'{value}'" in message
    message += "" if named else _given(value)
    return f"{place}: {message}" if place else message


def _unknown_key(options: type[Options], path: list[str]) -> str:
    """Return a line about an unknown key: its name here, its place, or the nearest key."""
    place = ".".join(path)
    if (known := foreign(place)) is not None:
        return f"unknown key '{place}'; {known}"
    elsewhere = [key for key in keys(options) if key.split(".")[-1] == path[-1]]
    within = path[:-1]
    beside = [".".join([*within, name]) for name in _fields(options, within)]
    return unknown("key", place, beside, meant=elsewhere)


def keys(options: type[Options], prefix: str = "") -> list[str]:
    """Return the dotted names of all fields, those of sections included.

    >>> keys(LoraOptions)  # doctest: +SKIP
    ['k', 'scale', 'targets', 'dropout']
    """
    found = []
    for name, field in options.model_fields.items():
        section = _section(field.annotation)
        found += [prefix + name, *(keys(section, f"{prefix}{name}.") if section else ())]
    return found


def _given(value: object) -> str:
    return f" (given: {shown(value)})"


def _value(given: Any, path: list[str]) -> Any:
    for part in path:
        given = given.get(part) if isinstance(given, Mapping) else None
    return given


def _leaf(options: type[Options], path: list[str]) -> int:
    """Return how many parts of `path` lead to the first field that is not a section, or all."""
    for i, part in enumerate(path):
        field = _fields(options, path[:i]).get(part)
        if field is not None and _section(field.annotation) is None:
            return i + 1
    return len(path)


def section_at(options: type[Options], path: list[str]) -> type[Options] | None:
    """Return the options class at `path`, or None if the path leads to no section."""
    section: type[Options] | None = options
    for part in path:
        field = section.model_fields.get(part) if section else None
        section = _section(field.annotation) if field else None
    return section


def _fields(options: type[Options], path: list[str]) -> Mapping[str, Any]:
    section = section_at(options, path)
    return section.model_fields if section else {}


def _section(annotation: Any) -> type[Options] | None:
    """Return the options class in an annotation such as `X | None`."""
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        found = [_section(choice) for choice in typing.get_args(annotation)]
        return next((options for options in found if options), None)
    return annotation if isinstance(annotation, type) and issubclass(annotation, Options) else None


def _description(options: type[Options], path: list[str]) -> str:
    field = _fields(options, path[:-1]).get(path[-1])
    return ((field and field.description) or "").removesuffix(".")
