"""RunConfig: everything that a run depends on, made of the options of each wing.

A configuration is made of overlays, applied left to right (`autolora_meta.config.overlay`).
"""

import re
from collections.abc import Sequence
from typing import Any

import yaml
from pydantic import Field, field_validator, model_validator

from autolora_meta.bilevel.options import SearchOptions
from autolora_meta.config.overlay import Overlay, merged
from autolora_meta.errors import InputError, unknown
from autolora_meta.finetuning.data import DataOptions
from autolora_meta.finetuning.lora import LoraOptions
from autolora_meta.finetuning.models import ModelOptions
from autolora_meta.finetuning.retrain import RetrainOptions
from autolora_meta.finetuning.tasks import (
    TaskOptions,
    metric_called,
    task_class,
    task_names,
    unknown_task,
)
from autolora_meta.foundation import plugins
from autolora_meta.foundation.device import ALLOWED, known_device, usable_device
from autolora_meta.foundation.options import Options, read
from autolora_meta.foundation.tracking import START
from autolora_meta.ranks.options import RankOptions, bounds


class PrimaryOptions(Options):
    """The comparison that is named before the run; all others are secondary."""

    metric: str | None = Field(
        default=None,
        description="Metric of the comparison; null: the first that is compared.",
    )
    contrast: tuple[str, str] | None = Field(
        default=None,
        description="Two arms, such as [learned, uniform]; null: learned against the baseline.",
    )

    @field_validator("metric")
    @classmethod
    def _known_metric(cls, value: str | None) -> str | None:
        if value is not None:
            metric_called(value)  # refuses one that there is not
        return value

    @field_validator("contrast")
    @classmethod
    def _two_arms(cls, value: tuple[str, str] | None) -> tuple[str, str] | None:
        allowed = plugins.names(plugins.ALLOCATORS)
        for arm in value or ():
            if arm not in allowed:
                raise ValueError(unknown("arm", arm, allowed))
        if value and value[0] == value[1]:
            raise ValueError(f"{value[0]} cannot be compared with itself; name two arms")
        return value


class CompareOptions(Options):
    """Which arms are compared, by which metrics, over how many replicates."""

    arms: tuple[str, ...] = Field(
        default=("learned", "uniform", "shuffled", "frozen"),
        description="Allocators, all at one budget; `learned`, whose adapter is saved, is one.",
    )
    baseline: str = Field(default="uniform", description="Arm that the others are compared with.")
    metrics: tuple[str, ...] | None = Field(
        default=None,
        min_length=1,
        description="Metrics that are compared on the test rows, the main one first; null: the "
        "task's own, or for a task of GLUE those of the benchmark.",
    )
    primary: PrimaryOptions = Field(
        default_factory=PrimaryOptions,
        description="Comparison that is named before the run.",
    )
    equal_cost: bool = Field(
        default=False,
        description="Whether arms that choose ranks at a lower cost than the learned search are "
        "retrained longer, so that search and retraining together cost the same. Evaluations are "
        "not counted, nor is a search that ends early.",
    )
    replicates: int = Field(
        default=5,
        ge=1,
        description="Number of seeds, each with its own split, search, shuffle and retraining. "
        "Fewer than 3 allow no claim.",
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
    def _known_metric(cls, value: tuple[str, ...] | None) -> tuple[str, ...] | None:
        for metric in value or ():
            metric_called(metric)  # refuses one that there is not
        return value

    @model_validator(mode="after")
    def _complete(self) -> "CompareOptions":
        for key, names in (("arms", self.arms), ("metrics", self.metrics or ())):
            if len(set(names)) < len(names):
                raise ValueError(f"{key} [{', '.join(names)}] names one twice; name each once")
        given = f"arms are [{', '.join(self.arms)}]"
        if "learned" not in self.arms:
            raise ValueError(
                f"{given}, and `learned` is not among them; a run leaves its ranks and its "
                "adapter behind: add it"
            )
        if self.baseline not in self.arms:
            raise ValueError(
                f"{given}, and the baseline '{self.baseline}' is not among them; add it, or "
                "choose the baseline from them (compare.baseline)"
            )
        return self

    @property
    def named(self) -> tuple[str, ...]:
        """The metrics named here, the primary one first; empty where the task chooses."""
        return tuple(dict.fromkeys([*filter(None, [self.primary.metric]), *(self.metrics or ())]))

    def compared(self, usual: Sequence[str]) -> list[str]:
        """Return the metrics to compare, the primary one first.

        Args:
            usual: what the task compares by default.
        """
        return list(dict.fromkeys([*self.named, *(() if self.metrics else usual)]))

    def contrast(self) -> tuple[str, str] | None:
        """Return the two arms of the primary comparison, or None if there is one arm.

        Raises:
            InputError: `primary.contrast` names an arm that is not compared.
        """
        if self.primary.contrast is not None:
            for arm in self.primary.contrast:
                if arm not in self.arms:
                    raise InputError("compare.primary.contrast: " + unknown("arm", arm, self.arms))
            return self.primary.contrast
        others = [arm for arm in self.arms if arm != "learned"]
        if self.baseline != "learned":
            return "learned", self.baseline
        if "uniform" in others:
            return "learned", "uniform"
        return ("learned", others[0]) if others else None


class RuntimeOptions(Options):
    """Device, processes, threads and trackers."""

    device: str = Field(default="auto", description=f"{ALLOWED[0].upper()}{ALLOWED[1:]}.")
    workers: int = Field(
        default=0,
        ge=0,
        description="Processes side by side; 0: one for each core of a CPU, one for a GPU.",
    )
    threads: int = Field(
        default=1,
        ge=1,
        le=1024,
        description="Threads of each process. Results are the same bytes for the same number.",
    )
    report_to: tuple[str, ...] = Field(
        default=(),
        description=f"Trackers that get the figures of each search and retraining: "
        f"{', '.join(START)}. Each is an extra to install. metrics.jsonl is always written.",
    )

    @property
    def resolved_device(self) -> str:
        """The device that the work runs on.

        Raises:
            InputError: this machine does not have it.
        """
        return usable_device(self.device)

    @field_validator("report_to")
    @classmethod
    def _known_tracker(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for name in value:
            if name not in START:
                raise ValueError(unknown("tracker", name, START))
        if len(set(value)) < len(value):
            raise ValueError(f"[{', '.join(value)}] names one twice; name each once")
        return value

    @field_validator("device")
    @classmethod
    def _known_device(cls, value: str) -> str:
        return known_device(value)


class RunConfig(Options):
    """The whole configuration of a run.

    >>> config = RunConfig.load("quickstart", "cg", "compare.replicates=3")
    >>> config.search.hypergradient.method
    'cg'
    """

    name: str = Field(description="Name of the run's folder below `runs/`.")
    seed: int = Field(
        default=0, ge=0, description="Seed of the first replicate; replicate r uses seed + r."
    )
    model: ModelOptions
    data: DataOptions
    task: TaskOptions = Field(default_factory=TaskOptions)
    lora: LoraOptions = Field(default_factory=LoraOptions)
    search: SearchOptions = Field(default_factory=SearchOptions)
    ranks: RankOptions = Field(default_factory=RankOptions)
    retrain: RetrainOptions = Field(default_factory=RetrainOptions)
    compare: CompareOptions = Field(default_factory=CompareOptions)
    runtime: RuntimeOptions = Field(default_factory=RuntimeOptions)

    @field_validator("name")
    @classmethod
    def _folder_name(cls, value: str) -> str:
        # `..` would lead out of the runs, where --overwrite deletes.
        if not re.fullmatch(r"\w[\w.-]*", value):
            raise ValueError(
                f"'{value}' cannot name a folder; allowed: letters, digits, '_', '-' and '.', "
                "not '-' or '.' in front"
            )
        return value

    @field_validator("search")
    @classmethod
    def _known_problem(cls, value: SearchOptions) -> SearchOptions:
        allowed = plugins.names(plugins.PROBLEMS)
        if value.problem not in allowed:
            raise ValueError(unknown("problem", value.problem, allowed))
        return value

    @field_validator("task")
    @classmethod
    def _known_task(cls, value: TaskOptions) -> TaskOptions:
        if value.type not in task_names():
            raise ValueError(unknown_task(value.type, task_names()))
        return value

    @model_validator(mode="after")
    def _metrics_of_the_task(self) -> "RunConfig":
        measures = task_class(self.task.type).measures
        absent = [metric for metric in self.compare.named if metric not in measures]
        if absent:
            place = "compare.metrics" if self.compare.metrics else "compare.primary.metric"
            raise ValueError(
                f"{place} names {', '.join(absent)}, which task.type '{self.task.type}' "
                f"does not measure; measured: {', '.join(measures)}"
            )
        return self

    @model_validator(mode="after")
    def _ranks_within_k(self) -> "RunConfig":
        bounds(self.lora.k, self.ranks)
        return self

    @classmethod
    def load(cls, *overlays: Overlay) -> "RunConfig":
        """Load a configuration from overlays, applied left to right.

        Args:
            overlays: names of shipped configs, paths of YAML files, `key=value` strings, mappings.

        Raises:
            InputError: with every mistake at once: the place, the value, what is allowed.
        """
        return read(cls, merged(cls, overlays), "the configuration")

    def to_yaml(self) -> str:
        """Return the resolved configuration as YAML; loading it gives an equal one."""
        return yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False, allow_unicode=True)
