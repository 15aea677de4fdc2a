"""The JSON Schema of `search.hypergradient`: a name, or a mapping that one method allows."""

from typing import Any

from autolora_meta.hypergradients.finite_difference import FiniteDifferenceOptions
from autolora_meta.hypergradients.methods import METHODS, SOLVERS, Method

_PRODUCTS = ["autograd", "finite_difference"]


def choice_schema(weight: dict[str, Any], default: str) -> dict[str, Any]:
    """Return it.

    Options of several methods are one property, which says what it means in each. Under a method
    that is named, only its own are allowed; without one they may be laid over another file.

    Args:
        weight: the schema of the option that every method has.
        default: the name of a method.
    """
    named = {
        "method": {
            "enum": [*METHODS],
            "default": default,
            "description": "Name of the method: "
            + "; ".join(f"{name}: {method.summary}" for name, method in METHODS.items())
            + ".",
        },
        "solver": {
            "enum": [*SOLVERS],
            "description": "Solver of H x = v, instead of `method`, for a pair without a name.",
        },
        "products": {
            "enum": _PRODUCTS,
            "description": "How products with H and J are formed, beside `solver`: double backward "
            "(which is what is taken without it), or differences of gradients.",
        },
    }
    own = [_only(name, [*named, *method.option_names]) for name, method in METHODS.items()]
    section = {
        "type": "object",
        "properties": named | _options() | {"weight": weight},
        "additionalProperties": False,
        "allOf": own,
    }
    return {"anyOf": [{"enum": [*METHODS]}, section]}


def _only(name: str, keys: list[str]) -> dict[str, Any]:
    """Return what holds where a method is named: it has no other keys."""
    chosen = {"properties": {"method": {"const": name}}, "required": ["method"]}
    return {"if": chosen, "then": {"propertyNames": {"enum": keys}}}


def _options() -> dict[str, dict[str, Any]]:
    """Return each option once, with whose it is and what it means there."""
    found: dict[str, dict[str, Any]] = {}
    meanings: dict[str, dict[str, list[str]]] = {}
    for method in METHODS.values():
        for name, option in _of(method).items():
            found.setdefault(name, option)
            told = meanings.setdefault(name, {})
            told.setdefault(option["description"], []).append(method.name)
    for name, told in meanings.items():
        words = " ".join(f"Of {', '.join(whose)}: {text}" for text, whose in told.items())
        found[name] = {**found[name], "description": words}
    return found


def _of(method: Method) -> dict[str, dict[str, Any]]:
    options = method.solver_options.model_json_schema().get("properties", {})
    if method.differences:
        options = options | FiniteDifferenceOptions.model_json_schema()["properties"]
    return options
