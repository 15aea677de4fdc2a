"""Settings: every key of a schema, with its type, its range and its default in words."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from autolora_meta.foundation.schema import Node, resolved, section_of


@dataclass(frozen=True)
class Setting:
    """A key that can be set.

    Args:
        key: dotted; `[]` stands for the number in a list of sections.
        description: from its record.
        allowed: what it takes, in words; names stand in backticks.
        default: as JSON; None: it must be given, or its keys have defaults of their own.
        required: whether it must be given.
        known: names that it takes, where others may be added to them.
        section: whether it has keys of its own.
    """

    key: str
    description: str
    allowed: str
    default: str | None
    required: bool
    known: tuple[str, ...]
    section: bool

    @property
    def facts(self) -> str:
        """What it takes, and its default or that it has none, as sentences."""
        said = f"{self.allowed[:1].upper()}{self.allowed[1:]}."
        if self.required:
            return f"{said} Must be given."
        return said if self.default is None else f"{said} Default: {self.default}."


def settings(root: Node, prefix: str = "") -> list[Setting]:
    """Return the settings of a schema in their order, each section before its keys.

    Args:
        root: a schema of whole options (`schema.schema`).
        prefix: put in front of each key.

    >>> [found.key for found in settings(schema(LoraOptions))][:2]  # doctest: +SKIP
    ['k', 'scale']
    """
    return [*_within(root, root, prefix)]


def _within(section: Node, root: Node, prefix: str) -> Iterator[Setting]:
    for name, node in section["properties"].items():
        full, inner, mark = resolved(node, root), section_of(node, root), "."
        if inner is None and isinstance(items := full.get("items"), dict):
            inner, mark = section_of(items, root), "[]."
        default = json.dumps(full["default"]) if "default" in full else None
        yield Setting(
            key=prefix + name,
            description=full.get("description", ""),
            allowed=in_words(node, root),
            default=default,
            required=name in section.get("required", ()),
            known=tuple(_examples(full)),
            section=inner is not None,
        )
        if inner is not None:
            yield from _within(inner, root, f"{prefix}{name}{mark}")


def in_words(node: Node, root: Node) -> str:
    """Return what a node allows.

    >>> in_words({"type": "integer", "minimum": 1}, {})
    'a whole number of at least 1'
    >>> in_words({"anyOf": [{"type": "number", "exclusiveMinimum": 0}, {"type": "null"}]}, {})
    'a number above 0, or null'
    """
    node = resolved(node, root)
    if "anyOf" in node:
        return ", or ".join(in_words(choice, root) for choice in node["anyOf"])
    if "enum" in node or "const" in node:
        names = [f"`{name}`" for name in node.get("enum", [node.get("const")])]
        return _listed(names)
    if "properties" in node:
        return "a section"
    kind = node.get("type")
    if kind == "array":
        return _list(node, root)
    if kind == "object":
        values = node.get("additionalProperties")
        values = in_words(values, root) if isinstance(values, dict) else "anything"
        names = node.get("propertyNames", {})
        names = in_words(names, root) if "enum" in names else "names"
        return f"a mapping from {names} to {values}"
    # A text may be written as a number: 2024 is a name.
    kind = "string" if isinstance(kind, list) else kind
    return _KINDS.get(kind, "any value") + _range(node)


_KINDS: dict[Any, str] = {
    "string": "a text",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "null": "null",
}
_PLURALS = {
    "a text": "texts",
    "a whole number": "whole numbers",
    "a number": "numbers",
    "any value": "any values",
}
_BOUNDS = {
    "minimum": "of at least",
    "exclusiveMinimum": "above",
    "maximum": "at most",
    "exclusiveMaximum": "below",
}


def _range(node: Node) -> str:
    said = [f"{words} {node[key]:g}" for key, words in _BOUNDS.items() if key in node]
    return f" {' and '.join(said)}" if said else ""


def _list(node: Node, root: Node) -> str:
    least, most = node.get("minItems"), node.get("maxItems")
    each = in_words(node["items"], root) if node.get("items") else "any value"
    plural = _PLURALS.get(each)
    if least is not None and least == most:
        return f"a list of {least} {plural or f'values, each {each}'}"
    words = f"a list of {plural}" if plural else f"a list, each {each}"
    return f"{words}, at least {least}" if least else words


def _listed(names: list[str]) -> str:
    return f"{', '.join(names[:-1])} or {names[-1]}" if len(names) > 1 else names[0]


def _examples(node: Any) -> list[str]:
    for one in (node, *node.get("anyOf", ())):
        if found := one.get("examples") or one.get("items", {}).get("examples"):
            return found
    return []
