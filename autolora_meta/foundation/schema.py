"""Schema: options as JSON Schema, which editors read to complete and to check YAML files.

It is made of the option records, by pydantic, and of draft 7, which every editor knows.
"""

from collections.abc import Callable, Iterable
from typing import Any

from autolora_meta.foundation.options import Options

Node = dict[str, Any]
_OURS = ("title", "hashed")  # of pydantic, and `options.LATER`: nothing that an editor needs
DRAFT = "http://json-schema.org/draft-07/schema#"


def schema(options: type[Options]) -> Node:
    """Return the JSON Schema of whole options, with what must be given.

    >>> schema(LoraOptions)["properties"]["k"]["minimum"]  # doctest: +SKIP
    1
    """
    made = options.model_json_schema(ref_template="#/definitions/{model}")
    if "$defs" in made:
        made["definitions"] = made.pop("$defs")
    return {"$schema": DRAFT, **_tidied(made)}


def of_overlay(whole: Node) -> Node:
    """Return the schema of a part of such options: nothing must be given."""
    return _without_required(whole)


def suggesting(names: Callable[[], Iterable[str]]) -> Callable[[Node], None]:
    """Return what adds names to the schema of a field that takes others as well.

    Args:
        names: asked when the schema is made, since packages that are installed add to them.

    >>> Field(json_schema_extra=suggesting(lambda: ["cg", "darts"]))  # doctest: +SKIP
    """

    def add(field: Node) -> None:
        for choice in field.get("anyOf", [field]):
            if choice.get("type") != "null":
                choice.get("items", choice)["examples"] = [*names()]

    return add


def resolved(node: Node, root: Node) -> Node:
    """Return a node with what its `$ref` stands for, its own description above the other's."""
    if "$ref" not in node:
        return node
    found = root
    for part in node["$ref"].removeprefix("#/").split("/"):
        found = found[part]
    return {**found, **{key: value for key, value in node.items() if key != "$ref"}}


def section_of(node: Node, root: Node) -> Node | None:
    """Return the section that a node is, or may be beside other things; None of a plain value."""
    for choice in resolved(node, root).get("anyOf", [node]):
        if "properties" in (found := resolved(choice, root)):
            return found
    return None


def _tidied(node: Any) -> Any:
    """Return a node of draft 7, without pydantic's titles, and as wide as what is read."""
    if isinstance(node, list):
        return [_tidied(one) for one in node]
    if not isinstance(node, dict):
        return node
    tidy = dict(_tidied_entry(key, value) for key, value in node.items() if key not in _OURS)
    if tidy.get("type") == "string" and not {"enum", "const", "pattern"} & tidy.keys():
        tidy["type"] = ["string", "number"]  # coerce_numbers_to_str
    for name, one in tidy.get("properties", {}).items():
        if one.get("type") == "object" and name not in tidy.get("required", ()):
            one.setdefault("default", {})
    return tidy


def _tidied_entry(key: str, value: Any) -> tuple[str, Any]:
    if key in ("properties", "definitions"):  # whose keys are names
        return key, {name: _tidied(one) for name, one in value.items()}
    if key == "description":
        return key, " ".join(value.split("\n\n")[0].split())
    if key == "prefixItems":  # of one kind each, wherever we have some
        return "items", _tidied(value[0])
    if key in ("default", "enum", "const", "examples", "required"):
        return key, value
    return key, _tidied(value)


def _without_required(node: Any) -> Any:
    if isinstance(node, list):
        return [_without_required(one) for one in node]
    if not isinstance(node, dict):
        return node
    kept = {key: value for key, value in node.items() if key != "required"}
    for key in ("properties", "definitions"):
        if key in kept:
            kept[key] = {name: _without_required(one) for name, one in kept[key].items()}
    # The conditions of `if` ask what is there, not what must be.
    return {
        key: value if key in ("properties", "definitions", "if") else _without_required(value)
        for key, value in kept.items()
    }
