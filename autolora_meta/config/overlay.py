"""Overlays of a configuration (shipped configs, YAML files, `key=value`): read and merged."""

import os
from collections.abc import Iterable, Mapping
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

from autolora_meta.errors import InputError, unknown
from autolora_meta.foundation.options import Options, section_at
from autolora_meta.foundation.plain import refuse_odd
from autolora_meta.foundation.reading import file_text
from autolora_meta.foundation.yaml_text import yaml_content

Overlay = str | Path | Mapping[str, Any]
STUDIES = "studies"  # the folder of the shipped studies, which are no configs of a run


def shipped() -> list[str]:
    """Return the names of the shipped configs, those in folders as `folder/name`."""
    found: list[str] = []

    def walk(folder: Traversable, prefix: str) -> None:
        for entry in folder.iterdir():
            if entry.is_dir() and entry.name != STUDIES:
                walk(entry, f"{prefix}{entry.name}/")
            elif entry.name.endswith(".yaml"):
                found.append(prefix + entry.name.removesuffix(".yaml"))

    walk(files("autolora_meta.engine_configs"), "")
    return sorted(found)


def merged(options: type[Options], overlays: Iterable[Overlay]) -> dict[str, Any]:
    """Merge overlays into one mapping, a later one over an earlier one.

    Args:
        options: the class that the mapping is for; its sections say which keys a later overlay
            drops (`Options.kept_under`).
        overlays: names of shipped configs, paths of YAML files, `key=value` strings, mappings.

    Raises:
        InputError: an overlay cannot be found or read.
    """
    found: dict[str, Any] = {}
    for overlay in overlays:
        read = _read(overlay)
        refuse_odd(read, "the configuration")
        found = _laid_over(options, found, read)
    return found


def _read(overlay: Overlay) -> dict[str, Any]:
    if isinstance(overlay, Mapping):
        return dict(overlay)
    text = str(overlay)
    if os.path.isfile(text):
        content, place = file_text(text), text
    elif "=" in text:
        return setting(text)
    elif text in shipped():
        content = files("autolora_meta.engine_configs").joinpath(f"{text}.yaml").read_text("utf-8")
        place = f"the shipped config {text}"
    elif os.path.isdir(text):
        raise InputError(
            f"{text} is a folder; a config is a YAML file, a shipped name or key=value"
        )
    elif os.path.exists(text):  # a device, a pipe
        content, place = file_text(text), text
    elif "/" in text or text.endswith((".yaml", ".yml")):
        raise InputError(f"there is no file {text}; shipped configs: {', '.join(shipped())}")
    else:
        raise InputError(
            unknown("config", text, shipped()) + "; or give the path of a YAML file, or key=value"
        )
    parsed = yaml_content(content, place)
    if not isinstance(parsed, dict):
        held = "nothing" if parsed is None else type(parsed).__name__
        raise InputError(f"{place} must hold sections, such as `lora: {{k: 4}}`; it holds {held}")
    return parsed


def setting(text: str) -> dict[str, Any]:
    """Return `key=value` as a mapping: dotted keys as nested sections, the value read as YAML.

    Raises:
        InputError: there is no `=`, or the value is not YAML.

    >>> setting("search.inner.learning_rate=0.01")
    {'search': {'inner': {'learning_rate': 0.01}}}
    """
    key, equals, value = text.partition("=")
    if not equals:
        raise InputError(f"'{text}' is not key=value, such as budget=uniform:2")
    return nested(key.strip(), yaml_content(value, f"the value of {key}"))


def nested(key: str, value: Any) -> dict[str, Any]:
    """Return `value` under a dotted key, as nested sections.

    >>> nested("lora.k", 4)
    {'lora': {'k': 4}}
    """
    for part in reversed(key.split(".")):
        value = {part: value}
    return value


def _laid_over(options: type[Options], below: Any, above: Mapping[str, Any]) -> dict[str, Any]:
    """Return the section `above` over what `options` keeps of the section `below`."""
    whole = options.kept_under(below, above)
    for key, value in above.items():
        if isinstance(value, Mapping):
            section = section_at(options, [key]) or Options
            whole[key] = _laid_over(section, whole.get(key), value)
        else:
            whole[key] = value
    return whole
