"""What the metrics of the tasks mean: which way is better, and in what unit they are read."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Metric:
    """How a metric is read.

    Args:
        better: which way is better.
        unit: what a difference is counted in; empty where it has no unit.
        factor: from the value to that unit.
        label: the name in sentences and on axes.
    """

    better: Literal["higher", "lower"]
    unit: str
    factor: float
    label: str


METRICS: dict[str, Metric] = {
    "cross_entropy": Metric("lower", "nats", 1.0, "test cross-entropy"),
    "accuracy": Metric("higher", "points", 100.0, "test accuracy"),
    "macro_f1": Metric("higher", "points", 100.0, "test macro F1"),
    "matthews": Metric("higher", "points", 100.0, "test Matthews correlation"),
}
