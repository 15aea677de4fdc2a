"""A configuration small enough to be searched in a second, and what its tests compare."""

from pathlib import Path

from autolora_meta.config.run import RunConfig
from autolora_meta.pipeline.result import SearchResult

FEW = {"outer_steps": 3, "warmup_steps": 2, "outer": {"learning_rate": 0.1}}


def changed(config: RunConfig, *changes: str) -> RunConfig:
    return RunConfig.load(config.model_dump(mode="json"), *changes)


def files(result: SearchResult, folder: Path) -> dict[str, bytes]:
    result.save(folder)
    paths = [path for path in folder.rglob("*") if path.is_file()]
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}
