"""What a study consists of, as it stands in a YAML file or is given in Python."""

import os
from collections.abc import Iterable, Mapping
from importlib.resources import files
from itertools import islice
from pathlib import Path
from typing import Any

from pydantic import Field, field_validator, model_validator

from autolora_meta.config.overlay import STUDIES, setting
from autolora_meta.config.run import RunConfig
from autolora_meta.errors import InputError, unknown
from autolora_meta.foundation import plugins
from autolora_meta.foundation.options import FolderName, Options, read
from autolora_meta.foundation.reading import file_text
from autolora_meta.foundation.schema import suggesting
from autolora_meta.foundation.yaml_text import yaml_content, yaml_of
from autolora_meta.studies.patterns import is_pattern, patterns_of
from autolora_meta.studies.questions import (
    ARM,
    EVERY,
    SEED,
    VARIANT,
    Primary,
    Question,
    questions_of,
)

YamlOverlay = str | dict[str, Any]
Base = str | Path | Mapping[str, Any] | RunConfig
MOST_RUNS = 10_000  # of a study: each has a line in its table


class StudyOptions(Options):
    """A base configuration, what is varied in it, the arms and the seeds."""

    name: FolderName = Field(description="Name of the study, and of its folder below `runs/`.")
    question: str = Field(default="", description="What the study asks, in a sentence.")
    base: tuple[YamlOverlay, ...] = Field(
        min_length=1,
        description="Overlays of the configuration that all runs start from: shipped names, YAML "
        "files, key=value, mappings; one, or a list of them.",
    )
    vary: dict[str, tuple[Any, ...]] = Field(
        default_factory=dict,
        description="Dotted key -> its values, of any kind; every value meets every other.",
    )
    variants: dict[str, tuple[YamlOverlay, ...]] = Field(
        default_factory=dict,
        description="Name -> overlays laid over the base: for what differs in more than one key. "
        "The base itself has none: `paper: []`. Every variant meets every value of `vary`.",
    )
    arms: tuple[str, ...] = Field(
        default=("learned",),
        min_length=1,
        description="Allocators, as in compare.arms.",
        json_schema_extra=suggesting(lambda: plugins.names(plugins.ALLOCATORS)),
    )
    seeds: tuple[int, ...] = Field(
        default=tuple(range(5)),
        min_length=1,
        description="Replicates: a list of seeds, or how many. Fewer than 3 allow no claim.",
    )
    contrasts: tuple[Question, ...] = Field(
        default=(),
        description="What is asked of the finished table; empty: each arm against uniform (or the "
        "first), each value against the first of its key. The arms of compare.primary are the "
        "primary comparison; where no question has them, the first question is.",
    )
    smoke: dict[str, Any] = Field(
        default_factory=dict,
        description="Other values of the fields above for a size that takes a minute; its `base` "
        "is laid over the base.",
    )

    @field_validator("base", mode="before")
    @classmethod
    def _one_base(cls, value: Any) -> Any:
        return _overlays(value)

    @field_validator("variants", mode="before")
    @classmethod
    def _one_overlay(cls, value: Any) -> Any:
        if not isinstance(value, Mapping):
            return value
        return {name: _overlays(overlays) for name, overlays in value.items()}

    @field_validator("vary", mode="before")
    @classmethod
    def _values(cls, value: Any) -> Any:
        if not isinstance(value, Mapping):
            return value
        taken: dict[str, list[Any]] = {}
        for key, values in value.items():
            if isinstance(values, str | Mapping) or not hasattr(values, "__iter__"):
                raise ValueError(f"{key} takes a list of values; given {values!r}: put it in [ ]")
            if key in (ARM, VARIANT, SEED):
                raise ValueError(f"'{key}' is no key to vary; give {key}s")
            taken[key] = values = list(islice(values, MOST_RUNS + 1))
            if not values or any(v in values[:i] for i, v in enumerate(values)):
                raise ValueError(f"{key} takes at least one value, each once; given {values!r}")
        return taken

    @field_validator("seeds", mode="before")
    @classmethod
    def _counted(cls, value: Any) -> Any:
        if isinstance(value, int) and not isinstance(value, bool):
            if value < 1:
                raise ValueError(
                    f"{value} replicates are none; give at least 1, or a list of seeds"
                )
            value = range(value)
        if isinstance(value, range) and len(value) > MOST_RUNS:
            raise ValueError(f"{len(value)} replicates; a study holds {MOST_RUNS:,} runs at most")
        return tuple(value) if isinstance(value, range) else value

    @field_validator("arms")
    @classmethod
    def _known(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for arm in value:
            plugins.refuse_no_allocator(arm)
        return value

    @field_validator("seeds", "arms")
    @classmethod
    def _once(cls, value: tuple[Any, ...]) -> tuple[Any, ...]:
        if len(set(value)) < len(value) or any(isinstance(v, int) and v < 0 for v in value):
            raise ValueError("name each once; a seed is 0 or more")
        return value

    @model_validator(mode="after")
    def _asked_of_what_varies(self) -> "StudyOptions":
        values = {ARM: self.arms, VARIANT: tuple(self.variants), **self.vary}
        for asked in self.contrasts:
            for key in (asked.key, *asked.over):
                if key not in self.keys:
                    raise ValueError("contrasts: " + unknown("key", key, self.keys))
            for value in (asked.baseline, *(asked.values or ())):
                if value not in values[asked.key]:
                    raise ValueError(
                        f"contrasts: {value!r} is no value of {asked.key}; its values: "
                        f"{', '.join(map(str, values[asked.key]))}"
                    )
        return self

    @property
    def keys(self) -> tuple[str, ...]:
        """What tells the runs of one seed apart: variant, if there are any, keys of vary, arm."""
        return (*((VARIANT,) if self.variants else ()), *self.vary, ARM)

    def asked(self) -> tuple[Question, ...]:
        """The contrasts, those that follow from the grid where none are given.

        Random patterns are measured together (`headroom`), and not compared one by one.
        """
        if self.contrasts:
            return self.contrasts
        first: dict[str, Any] = {key: values[0] for key, values in self.vary.items()}
        first[ARM] = "uniform" if "uniform" in self.arms else self.arms[0]
        several = {ARM: [arm for arm in self.arms if not is_pattern(arm)], **self.vary}
        if self.variants:
            first[VARIANT], several[VARIANT] = next(iter(self.variants)), tuple(self.variants)
        values = {ARM: tuple(a for a in several[ARM] if a != first[ARM])}
        values = values if len(several[ARM]) < len(self.arms) else {}
        return tuple(
            Question(key=key, baseline=first[key], values=values.get(key))
            for key in self.keys
            if len(several[key]) > 1
        )

    def primary(self) -> Primary:
        """Return what the study is to show first of all.

        It is `compare.primary` of the base, by default learned against the baseline, in the first
        question that asks for these arms. Where none does, it is the first question as a whole.

        Raises:
            InputError: `compare.primary` of the base names what no question asks for.
        """
        base = RunConfig.load(*self.base)
        compare = base.compare
        named, metric = compare.primary.contrast, compare.primary.metric
        chosen = base.ranks.arm
        arms = named or compare.model_copy(update={"arms": self.arms}).contrast(chosen)
        for number, one in enumerate(self.asked()):
            if arms is None or one.key != ARM or one.baseline not in arms:
                continue
            held = {one.baseline, *(one.values or self.arms)}
            if held >= {*arms} and (metric is None or one.metric in (None, EVERY, metric)):
                return Primary(question=number, arms=arms, chosen=chosen)
        if named is not None:
            raise InputError(
                f"compare.primary.contrast names {' and '.join(named)}, and no question of this "
                f"study compares them; its arms: {', '.join(self.arms)}; give `arms` both, and "
                "`contrasts`, where there are some, a question with `key: arm` and one of them as "
                "the baseline"
            )
        return Primary(chosen=chosen)

    @classmethod
    def of(cls, config: RunConfig) -> "StudyOptions":
        """Return the study of one point that a run is."""
        compare = config.compare
        return cls(
            name=config.name,
            base=(config.model_dump(mode="json"),),
            arms=tuple(dict.fromkeys([*compare.arms, *patterns_of(compare.headroom)])),
            seeds=tuple(config.seed + number for number in range(compare.replicates)),
            contrasts=questions_of(compare, config.ranks.arm),
        )

    def to_yaml(self) -> str:
        """As a study file; reading it gives an equal study."""
        return yaml_of(self.model_dump(mode="json"))


def read_study(file: str | Path, *changes: str, smoke: bool = False) -> StudyOptions:
    """A study from its file.

    Args:
        file: path of a YAML file, or the name of a shipped study.
        changes: `key=value` of the study itself (seeds=3, arms=[learned, uniform],
            vary.lora.k=[2, 4]) or, with any other key, of the base configuration.
        smoke: the small size that the file gives.

    Raises:
        InputError: there is no such study, or it has mistakes.

    >>> read_study("hypergradients", "seeds=3", "search.outer_steps=20").seeds  # doctest: +SKIP
    (0, 1, 2)
    """
    given = _given(str(file))
    if smoke and not given.get("smoke"):
        raise InputError(f"{file} gives no smoke size; add a section `smoke: {{seeds: 1}}` to it")
    if smoke:
        small = given.pop("smoke")
        if not isinstance(small, dict):
            raise InputError(f"{file}: smoke is a section, such as `smoke: {{seeds: 1}}`")
        base = [*_overlays(given.get("base")), *_overlays(small.get("base"))]
        given |= {"name": f"{given.get('name')}-smoke"} | small | {"base": base}
    for change in changes:
        key = change.partition("=")[0].strip()
        head, _, rest = key.partition(".")
        if head == "vary" and rest:
            _, _, value = change.partition("=")
            values = yaml_content(value, f"the value of {key}")
            given["vary"] = {**(given.get("vary") or {}), rest: values}
        elif head in StudyOptions.model_fields:
            given |= setting(change)
        else:
            given["base"] = [*_overlays(given.get("base")), change]
    return read(StudyOptions, given, f"the study {file}")


def shipped_studies() -> list[str]:
    """Names of the studies that come with the package."""
    folder = files("autolora_meta.engine_configs").joinpath(STUDIES)
    return sorted(e.name.removesuffix(".yaml") for e in folder.iterdir() if e.name[-5:] == ".yaml")


def _given(name: str) -> dict[str, Any]:
    bare = name.removeprefix(f"{STUDIES}/")
    if os.path.exists(name) and not os.path.isdir(name):
        text = file_text(name)
    elif bare in shipped_studies():
        place = files("autolora_meta.engine_configs").joinpath(STUDIES, f"{bare}.yaml")
        text = place.read_text("utf-8")
    else:
        raise InputError(
            unknown("study", name, shipped_studies()) + "; or give the path of a YAML file"
        )
    content = yaml_content(text, name)
    if not isinstance(content, dict):
        raise InputError(f"{name} must hold a study, such as `base: quickstart` and `vary: ...`")
    return content


def _overlays(value: Any) -> list[Any]:
    if value is None:
        return []
    if isinstance(value, str | Path | Mapping) or not isinstance(value, Iterable):
        return [value]  # what is no overlay at all is refused where the fields are checked
    return list(value)


def overlay_of(base: Base) -> YamlOverlay:
    """Return an overlay as YAML can hold it."""
    if isinstance(base, RunConfig):
        return base.model_dump(mode="json")
    return str(base) if isinstance(base, str | Path) else dict(base)
