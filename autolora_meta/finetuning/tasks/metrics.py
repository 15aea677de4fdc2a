"""What the metrics of the tasks mean: which way is better, and in what unit they are read."""

from collections.abc import Mapping
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

    @property
    def title(self) -> str:
        """The label at the head of a sentence.

        >>> METRICS["entity_f1"].title
        'Test entity F1'
        """
        return self.label[:1].upper() + self.label[1:]


def _share(label: str) -> Metric:
    """Of a score that is 1 at best and that people read in hundredths."""
    return Metric("higher", "points", 100.0, label)


METRICS: dict[str, Metric] = {
    "cross_entropy": Metric("lower", "nats", 1.0, "test cross-entropy"),
    "accuracy": _share("test accuracy"),
    "f1": _share("test F1"),
    "macro_f1": _share("test macro F1"),
    "matthews": _share("test Matthews correlation"),
    "pearson": _share("test Pearson correlation"),
    "spearman": _share("test Spearman correlation"),
    "mean_squared_error": Metric("lower", "", 1.0, "test mean squared error"),
    "entity_f1": _share("test entity F1"),
    "entity_precision": _share("test entity precision"),
    "entity_recall": _share("test entity recall"),
    "perplexity": Metric("lower", "", 1.0, "test perplexity"),
    "bleu": Metric("higher", "points", 1.0, "test BLEU"),
    "nist": Metric("higher", "", 1.0, "test NIST"),
    "rouge_l": _share("test ROUGE-L"),
    "ter": Metric("lower", "points", 1.0, "test TER"),
    "meteor": _share("test METEOR"),
    "cider": Metric("higher", "", 1.0, "test CIDEr-D"),
}


def named(*names: str) -> Mapping[str, Metric]:
    """Those of METRICS, in this order: the `measures` of a task."""
    return {name: METRICS[name] for name in names}
