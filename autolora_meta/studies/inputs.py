"""The local files that runs read, known by their content."""

import hashlib
import os
from collections.abc import Iterable
from pathlib import Path

from autolora_meta.config.run import RunConfig
from autolora_meta.finetuning.hub import path_of


def inputs(configs: Iterable[RunConfig]) -> dict[str, str]:
    """Path -> SHA-256 of every local file that a configuration names as data, model or template.

    A folder stands for all files in it, by their relative paths and contents. What is not on this
    machine's disk (an id of a hub, data that a package carries) is left out.
    """
    return {name: _hash(path_of(name)) for name in sorted(paths(configs))}


def paths(configs: Iterable[RunConfig]) -> set[str]:
    """The paths of those files, which are not read."""
    named: set[str] = set()
    for config in configs:
        named |= {config.model.name, *filter(None, [config.task.chat_template])}
        for data in filter(None, (config.data, config.data.evaluation)):
            source = data.source
            named |= {source} if isinstance(source, str) else {*source.values()}
    return {name for name in named if os.path.exists(path_of(name))}


def _hash(path: Path) -> str:
    files = [path] if path.is_file() else sorted(f for f in path.rglob("*") if f.is_file())
    found = hashlib.sha256()
    for file in files:
        found.update(str(file.relative_to(path)).encode())
        with file.open("rb") as content:
            found.update(hashlib.file_digest(content, "sha256").digest())
    return found.hexdigest()
