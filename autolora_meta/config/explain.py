"""Explain a setting: what it takes, its default, its description, and its value in a config."""

import json
import textwrap
from difflib import get_close_matches
from typing import Any

from autolora_meta.config.run import RunConfig
from autolora_meta.errors import InputError, unknown
from autolora_meta.foundation.foreign_names import foreign
from autolora_meta.foundation.schema import schema
from autolora_meta.foundation.setting import Setting, settings

_WIDTH = 88


def explain(key: str, config: RunConfig | None = None) -> str:
    """Return what there is to know about a setting, or about a section and its keys.

    Args:
        key: dotted, such as `search.outer.learning_rate` or `search`.
        config: whose values are told; None: defaults alone.

    Raises:
        InputError: there is no such key; the message gives the nearest.

    >>> print(explain("lora.k"))
    lora.k
      A whole number of at least 1. Default: 8.
      Rank-1 components of each layer in the search, its largest rank.
    """
    known = {setting.key: setting for setting in settings(schema(RunConfig))}
    if key not in known:
        raise InputError(_unknown(key, known))
    values = None if config is None else config.model_dump(mode="json")
    told = [one for one in known.values() if one.key == key or one.key.startswith(f"{key}.")]
    return "\n\n".join(_entry(setting, values) for setting in told).replace("`", "")


def _entry(setting: Setting, values: dict[str, Any] | None) -> str:
    facts = [setting.facts]
    if values is not None and not setting.section:
        facts.append(f"Here: {_value(setting.key, values)}.")
    names = [f"Names: {', '.join(setting.known)}."] if setting.known else []
    texts = [" ".join(facts), setting.description, *names]
    return "\n".join([setting.key, *(line for text in texts for line in _wrapped(text))])


def _value(key: str, values: Any) -> str:
    for part in key.split("."):
        if not isinstance(values, dict) or part not in values:
            return "not read in this configuration"
        values = values[part]
    return json.dumps(values, ensure_ascii=False)


def _unknown(key: str, known: dict[str, Setting]) -> str:
    if (words := foreign(key)) is not None:
        return f"unknown key '{key}'; {words}"
    last = key.rpartition(".")[2]
    same = [one for one in known if one.rpartition(".")[2] == last]
    near = get_close_matches(key, same, n=1, cutoff=0) or get_close_matches(key, known, n=1)
    section = key.rpartition(".")[0]
    while section and section not in known:
        section = section.rpartition(".")[0]
    beside = [one for one in known if one.rpartition(".")[0] == section]
    return unknown("key", key, beside, meant=near)


def _wrapped(text: str) -> list[str]:
    indent = "  "
    return textwrap.wrap(
        text, _WIDTH, initial_indent=indent, subsequent_indent=indent, break_on_hyphens=False
    )
