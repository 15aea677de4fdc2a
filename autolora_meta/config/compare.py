"""CompareOptions: the arms, metrics and replicates of a run, and its primary comparison."""

from collections.abc import Sequence
from typing import Any

from pydantic import Field, field_validator, model_validator

from autolora_meta.config.tune import KEYS, checked
from autolora_meta.errors import InputError, unknown
from autolora_meta.finetuning.tasks import metric_called
from autolora_meta.finetuning.tasks.metrics import METRICS
from autolora_meta.foundation import plugins
from autolora_meta.foundation.options import Options
from autolora_meta.foundation.schema import suggesting

FEWEST = 4  # random patterns


def _arms() -> list[str]:
    return plugins.names(plugins.ALLOCATORS)


class PrimaryOptions(Options):
    """The comparison that is named before the run; all others are secondary."""

    metric: str | None = Field(
        default=None,
        description="Metric of the comparison; null: the first that is compared.",
    )
    contrast: tuple[str, str] | None = Field(
        default=None,
        description="Two arms, such as [learned, uniform]; null: the arm whose ranks are chosen "
        "(ranks.choose) against the baseline.",
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
        for arm in value or ():
            plugins.refuse_no_allocator(arm)
        if value and value[0] == value[1]:
            raise ValueError(f"{value[0]} cannot be compared with itself; name two arms")
        return value


class CompareOptions(Options):
    """Which arms are compared, by which metrics, over how many replicates."""

    arms: tuple[str, ...] = Field(
        default=("learned", "uniform", "shuffled", "frozen"),
        description="Allocators, all at one budget; the one whose ranks are chosen (ranks.choose), "
        "which is `learned` by default, is among them, and its adapter is saved.",
        json_schema_extra=suggesting(_arms),
    )
    baseline: str = Field(
        default="uniform",
        description="Arm that the others are compared with.",
        json_schema_extra=suggesting(_arms),
    )
    metrics: tuple[str, ...] | None = Field(
        default=None,
        min_length=1,
        description="Metrics that are compared on the test rows, the main one first; null: the "
        "task's own, or for a task of GLUE those of the benchmark.",
        json_schema_extra=suggesting(lambda: METRICS),
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
        le=1000,
        description="Number of seeds, each with its own split, search, shuffle and retraining. "
        "Fewer than 3 allow no claim.",
    )

    headroom: int = Field(
        default=0,
        ge=0,
        le=1000,
        description="Number of random patterns that are retrained beside the arms, and uniform "
        "ranks with them, to say whether ranks matter here; 0: none, else at least 4. 20 are "
        "usual; with fewer than 4 replicates nothing is concluded.",
    )

    @field_validator("headroom")
    @classmethod
    def _enough_patterns(cls, value: int) -> int:
        if 0 < value < FEWEST:
            raise ValueError(f"{value} patterns show no spread; give 0, or at least {FEWEST}")
        return value

    tune: dict[str, tuple[float, ...]] = Field(
        default_factory=dict,
        description="Values among which each run picks for its ranks, by its loss on training and "
        "validation rows that it did not see; for example {retrain.learning_rate: [1e-3, 3e-3]}. "
        f"Keys: {', '.join(KEYS)}. The price is part of the cost of each arm.",
        json_schema_extra={"propertyNames": {"enum": [*KEYS]}},
    )

    @field_validator("tune")
    @classmethod
    def _leaves_a_choice(cls, value: dict[str, tuple[float, ...]]) -> dict[str, tuple[float, ...]]:
        checked(value)
        return value

    @field_validator("arms", "baseline")
    @classmethod
    def _known(cls, value: Any) -> Any:
        for arm in (value,) if isinstance(value, str) else value:
            plugins.refuse_no_allocator(arm)
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

    def contrast(self, chosen: str) -> tuple[str, str] | None:
        """Return the two arms of the primary comparison, or None if there is one arm.

        Args:
            chosen: the arm whose ranks are chosen (`RankOptions.arm`).

        Raises:
            InputError: `primary.contrast` names an arm that is not compared.
        """
        if self.primary.contrast is not None:
            for arm in self.primary.contrast:
                if arm not in self.arms:
                    raise InputError("compare.primary.contrast: " + unknown("arm", arm, self.arms))
            return self.primary.contrast
        others = [arm for arm in self.arms if arm != chosen]
        if self.baseline != chosen:
            return chosen, self.baseline
        if "uniform" in others:
            return chosen, "uniform"
        return (chosen, others[0]) if others else None
