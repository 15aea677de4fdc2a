"""Metrics of the tasks: which way is better, unit and label of each."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal


@dataclass(frozen=True)
class Metric:
    """Direction, unit and label of a metric.

    Args:
        better: which way is better.
        unit: of a difference; empty for a metric without a unit.
        factor: from the value to that unit.
        label: the name in sentences and on axes.
    """

    better: Literal["higher", "lower"]
    unit: str
    factor: float
    label: str

    @property
    def title(self) -> str:
        """The label at the start of a sentence.

        >>> METRICS["entity_f1"].title
        'Test entity F1'
        """
        return self.label[:1].upper() + self.label[1:]


def _share(label: str) -> Metric:
    """Return the metric of a score that is 1 at best and read in points."""
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


class Evaluation(dict[str, float]):
    """Metrics on test rows, and whether all answers are the same.

    Args:
        values: metric -> value.
        alike: the one answer to all rows, in words; None: answers differ, or all rows have the same
            right answer.
    """

    def __init__(self, values: Mapping[str, float], alike: str | None = None) -> None:
        super().__init__(values)
        self.alike = alike


def alike(
    answers: Sequence[object], right: Sequence[object], words: Callable[[Any], str]
) -> str | None:
    """Return `words` of the one answer to all rows, or None if answers differ.

    If all rows have the same right answer, one answer shows nothing, and None is returned too.

    >>> alike([1, 1, 1], [0, 1, 1], lambda answer: f"class {answer}")
    'class 1 for all 3 rows'
    """
    if len(set(answers)) != 1 or len(set(right)) < 2:
        return None
    return f"{words(answers[0])} for all {len(answers):,} rows"


def named(*names: str) -> Mapping[str, Metric]:
    """Return these of METRICS, in this order: the `measures` of a task."""
    return {name: METRICS[name] for name in names}
