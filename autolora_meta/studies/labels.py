"""Labels: values and settings of a grid as they stand in tables, figures and sentences."""

import json
from collections.abc import Mapping
from typing import Any


def value_label(value: object) -> str:
    """A value of the grid as it stands in tables and sentences.

    >>> value_label({"method": "cg", "iterations": 20}), value_label(["query", "value"])
    ('cg (iterations 20)', 'query+value')
    """
    if isinstance(value, Mapping) and "method" in value:
        others = words({key: part for key, part in value.items() if key != "method"})
        return f"{value['method']} ({others})" if others else str(value["method"])
    if isinstance(value, Mapping):
        return words(value)
    if isinstance(value, list | tuple):
        return "+".join(map(value_label, value))
    return value if isinstance(value, str) else json.dumps(value, default=str)


def row_label(row: Mapping[str, Any]) -> str:
    """Settings, arm and seed of a row of a table, for people."""
    return ", ".join(filter(None, [words(row["settings"]), row["arm"], f"seed {row['seed']}"]))


def words(settings: Mapping[str, Any]) -> str:
    """The settings of a run, for people; empty where nothing is varied."""
    return ", ".join(f"{key} {value_label(value)}" for key, value in settings.items())
