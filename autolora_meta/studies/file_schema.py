"""The JSON Schema of a study file, whose base and grid are checked by that of a configuration."""

import json
from typing import Any

from autolora_meta.config.run import RunConfig
from autolora_meta.foundation.schema import Node, of_overlay, resolved, schema, section_of
from autolora_meta.studies.options import StudyOptions

RUN, STUDY = "run.json", "study.json"  # files that stand side by side


def shipped_schemas() -> dict[str, str]:
    """Return the schemas of run and study files, as JSON, by the names of their files."""
    found = {RUN: of_overlay(schema(RunConfig)), STUDY: study_schema()}
    return {name: json.dumps(made, indent=1) + "\n" for name, made in found.items()}


def study_schema() -> Node:
    """Return it: as study files are read, it takes one overlay for a list, and a number of seeds.

    `vary` knows every key of a configuration, and what its values may be.
    """
    made = schema(StudyOptions)
    fields = made["properties"]
    overlay: Node = {"anyOf": [{"type": "string"}, {"$ref": f"{RUN}#"}]}
    made["definitions"] |= {
        "overlays": {"anyOf": [*overlay["anyOf"], {"type": "array", "items": overlay}]},
        "value": {"type": "array", "minItems": 1},
    }
    overlays = {"$ref": "#/definitions/overlays"}
    for name, taken in {
        "base": overlays,
        "variants": {"type": "object", "additionalProperties": overlays, "default": {}},
        "vary": _grid(schema(RunConfig)),
        "seeds": _counted(fields["seeds"]),
    }.items():
        fields[name] = {"description": fields[name]["description"], **taken}
    small = {name: {"$ref": f"#/properties/{name}"} for name in fields if name != "smoke"}
    fields["smoke"] |= {"properties": small, "additionalProperties": False}
    return made


def _counted(seeds: Node) -> Node:
    seeds = {key: value for key, value in seeds.items() if key != "description"}
    default = seeds.pop("default")
    return {"anyOf": [{"type": "integer", "minimum": 1}, seeds], "default": default}


def _grid(root: Node) -> Node:
    """Return what `vary` takes: dotted keys, each with a list of values of its setting."""
    values: dict[str, Any] = {}
    free: dict[str, Any] = {}

    def walk(section: Node, place: str, prefix: str) -> None:
        for name, node in section["properties"].items():
            here, key = f"{place}/properties/{name}", prefix + name
            values[key] = {"type": "array", "minItems": 1, "items": {"$ref": f"{RUN}#{here}"}}
            whole = resolved(node, root)
            kinds = whole.get("anyOf", [whole])
            if any(one.get("type") == "object" and "properties" not in one for one in kinds):
                free[f"^{key.replace('.', '[.]')}[.]"] = {"$ref": "#/definitions/value"}
            if (inner := section_of(node, root)) is not None:
                walk(inner, _place(node, here), f"{key}.")

    walk(root, "", "")
    return {
        "type": "object",
        "properties": values,
        "patternProperties": free,
        "additionalProperties": False,
        "default": {},
    }


def _place(node: Node, here: str) -> str:
    """Return where the section of a node stands, as a `$ref` names it."""
    for number, choice in enumerate(node.get("anyOf", ())):
        if "$ref" in choice or "properties" in choice:
            return choice.get("$ref", f"#{here}/anyOf/{number}").removeprefix("#")
    return node.get("$ref", f"#{here}").removeprefix("#")
