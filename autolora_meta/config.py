"""RunConfig: everything a run depends on, put together from the options of each wing.

A configuration is made of layers, applied left to right: shipped configs by bare name, YAML files
by path, and `key=value` with dotted keys.
"""

import types
import typing
from collections.abc import Mapping
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

import yaml
from pydantic import Field, ValidationError, field_validator

from autolora_meta import plugins
from autolora_meta.bilevel.options import SearchOptions
from autolora_meta.errors import InputError, unknown
from autolora_meta.finetuning.data import DataOptions
from autolora_meta.finetuning.lora import LoraOptions
from autolora_meta.finetuning.models import ModelOptions
from autolora_meta.finetuning.retrain import RetrainOptions
from autolora_meta.finetuning.tasks import TaskOptions
from autolora_meta.finetuning.tasks.metrics import METRICS
from autolora_meta.options import Options
from autolora_meta.ranks.rules import RankOptions


class CompareOptions(Options):
    """Which ways to choose ranks are held against each other, and how often."""

    arms: tuple[str, ...] = Field(
        default=("learned", "uniform", "shuffled", "frozen"),
        description="Allocators, all at one budget; the adapter of `learned` is the one saved.",
    )
    baseline: str = Field(default="uniform", description="The arm that differences are taken from.")
    metrics: tuple[str, ...] = Field(
        default=("cross_entropy", "accuracy"),
        min_length=1,
        description="What is compared on the test rows, the main metric first.",
    )
    replicates: int = Field(
        default=5,
        ge=1,
        description="Seeds, each with its own split, search, shuffle and retraining. Fewer than 3 "
        "allow no claim.",
    )

    @field_validator("arms", "baseline")
    @classmethod
    def _known(cls, value: Any) -> Any:
        allowed = plugins.names(plugins.ALLOCATORS)
        for arm in (value,) if isinstance(value, str) else value:
            if arm not in allowed:
                raise ValueError(unknown("arm", arm, allowed))
        return value

    @field_validator("metrics")
    @classmethod
    def _measured(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for metric in value:
            if metric not in METRICS:
                raise ValueError(unknown("metric", metric, METRICS))
        return value


class RuntimeOptions(Options):
    """Where and how wide the work runs."""

    device: str = Field(
        "auto", description="auto (CUDA where there is one), cpu, cuda, cuda:1, mps.", min_length=1
    )
    workers: int = Field(
        0, ge=0, description="Processes side by side; 0: one for each core on a CPU, one on a GPU."
    )
    threads: int = Field(
        1,
        ge=1,
        description="Threads of each process; results are the same bytes for the same number.",
    )

    @property
    def resolved_device(self) -> str:
        """The device that `auto` stands for here."""
        import torch  # config is read by commands that need no torch

        if self.device != "auto":
            return self.device
        return "cuda" if torch.cuda.is_available() else "cpu"


class RunConfig(Options):
    """The whole configuration of a run.

    >>> config = RunConfig.load("quickstart", "cg", "compare.replicates=3")
    >>> config.search.hypergradient.method
    'cg'
    """

    name: str = Field(description="Name of the run's folder below `runs/`.", pattern=r"^[\w.-]+$")
    seed: int = Field(default=0, ge=0, description="Replicate r uses seed + r.")
    model: ModelOptions
    data: DataOptions
    task: TaskOptions = Field(default_factory=TaskOptions)
    lora: LoraOptions = Field(default_factory=LoraOptions)
    search: SearchOptions = Field(default_factory=SearchOptions)
    ranks: RankOptions = Field(default_factory=RankOptions)
    retrain: RetrainOptions = Field(default_factory=RetrainOptions)
    compare: CompareOptions = Field(default_factory=CompareOptions)
    runtime: RuntimeOptions = Field(default_factory=RuntimeOptions)

    @classmethod
    def load(cls, *layers: str | Path | Mapping[str, Any]) -> "RunConfig":
        """Put a configuration together from layers, left to right.

        Args:
            layers: names of shipped configs, paths of YAML files, `key=value` strings, mappings.

        Raises:
            InputError: with every mistake at once: the place, the value, what is allowed.
        """
        merged: dict[str, Any] = {}
        for layer in layers:
            merged = _merge(merged, _read(layer))
        try:
            return cls.model_validate(merged)
        except ValidationError as error:
            raise InputError(_explain(error, merged)) from None

    def to_yaml(self) -> str:
        """The resolved configuration; loading it gives an equal one."""
        return yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False, allow_unicode=True)


def shipped() -> list[str]:
    """Bare names of the configs that come with the package, folders with a slash."""
    found: list[str] = []

    def walk(folder: Traversable, prefix: str) -> None:
        for entry in folder.iterdir():
            if entry.is_dir():
                walk(entry, f"{prefix}{entry.name}/")
            elif entry.name.endswith(".yaml"):
                found.append(prefix + entry.name.removesuffix(".yaml"))

    walk(files("autolora_meta.engine_configs"), "")
    return sorted(found)


def _read(layer: str | Path | Mapping[str, Any]) -> dict[str, Any]:
    if isinstance(layer, Mapping):
        return dict(layer)
    text = str(layer)
    if "=" in text and not Path(text).exists():
        key, _, value = text.partition("=")
        return _nested(key.strip(), _yaml(value, f"the value of {key}"))
    if Path(text).is_file():
        content, place = Path(text).read_text(encoding="utf-8"), text
    elif text in shipped():
        content = files("autolora_meta.engine_configs").joinpath(f"{text}.yaml").read_text("utf-8")
        place = f"the shipped config {text}"
    else:
        raise InputError(
            unknown("config", text, shipped()) + "; or give the path of a YAML file, or key=value"
        )
    parsed = _yaml(content, place)
    if not isinstance(parsed, dict):
        raise InputError(
            f"{place} must hold a mapping of sections; it holds {type(parsed).__name__}"
        )
    return parsed


def _yaml(text: str, place: str) -> Any:
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise InputError(f"{place} is not valid YAML: {error}") from None


def _nested(key: str, value: Any) -> dict[str, Any]:
    for part in reversed(key.split(".")):
        value = {part: value}
    return value


def _merge(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """`above` laid over `below`; a section that sets `method` replaces the one below it."""
    merged = dict(below)
    for key, value in above.items():
        old = merged.get(key)
        if isinstance(old, str) and isinstance(value, Mapping) and key == "hypergradient":
            old = {"method": old}
        if isinstance(old, Mapping) and isinstance(value, Mapping) and "method" not in value:
            merged[key] = _merge(old, value)
        else:
            merged[key] = value
    return merged


def _explain(error: ValidationError, given: Mapping[str, Any]) -> str:
    """All mistakes of a configuration, a line each: place, value, what is wrong and allowed."""
    lines = []
    for mistake in error.errors():
        path = [str(part) for part in mistake["loc"]]
        place = ".".join(path)
        if mistake["type"] == "extra_forbidden":
            fields = _fields(RunConfig, path[:-1])
            within = ".".join(path[:-1])
            known = [f"{within}.{name}" if within else name for name in fields]
            lines.append(unknown("key", place, known))
        elif mistake["type"] == "missing":
            lines.append(f"{place} is missing: {_help(path)}")
        else:
            message = mistake["msg"].removeprefix("Value error, ")
            shown = (
                "" if isinstance(mistake["input"], Mapping) else f" (given: {mistake['input']!r})"
            )
            lines.append(f"{place}: {message}{shown}")
    count = f"{len(lines)} mistakes" if len(lines) > 1 else "a mistake"
    return f"the configuration has {count}:\n" + "\n".join(f"  - {line}" for line in lines)


def _fields(model: type[Options], path: list[str]) -> Mapping[str, Any]:
    """The fields of the section at `path`; empty where the path leads to no section."""
    for part in path:
        field = model.model_fields.get(part)
        options = _section(field.annotation) if field else None
        if options is None:
            return {}
        model = options
    return model.model_fields


def _section(annotation: Any) -> type[Options] | None:
    """The options class in an annotation such as `X | None`."""
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        found = [_section(choice) for choice in typing.get_args(annotation)]
        return next((options for options in found if options), None)
    return annotation if isinstance(annotation, type) and issubclass(annotation, Options) else None


def _help(path: list[str]) -> str:
    field = _fields(RunConfig, path[:-1]).get(path[-1])
    if field is None:
        return "a required key"
    return field.description or f"a section with {', '.join(_fields(RunConfig, path))}"
