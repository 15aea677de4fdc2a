"""One class for each text, or pair of texts."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
from datasets import Dataset, DatasetDict
from numpy.typing import ArrayLike
from scipy.special import log_softmax
from sklearn.metrics import f1_score, matthews_corrcoef
from transformers import PreTrainedTokenizerBase

from autolora_meta.finetuning.data.roles import LABEL, TEXT, TEXT_PAIR
from autolora_meta.finetuning.tasks.base import Say
from autolora_meta.finetuning.tasks.encoding import encode_texts
from autolora_meta.finetuning.tasks.metrics import Evaluation, alike, named
from autolora_meta.finetuning.tasks.one_answer import OneAnswer
from autolora_meta.finetuning.tasks.options import TaskOptions

_log = logging.getLogger(__name__)

# What the benchmark scores each of its tasks by (GLUE, Wang et al. 2019, table 1).
GLUE = {
    "cola": ("matthews",),
    "sst2": ("accuracy",),
    "mrpc": ("f1", "accuracy"),
    "qqp": ("f1", "accuracy"),
    "mnli": ("accuracy",),
    "qnli": ("accuracy",),
    "rte": ("accuracy",),
    "wnli": ("accuracy",),
}


@dataclass(frozen=True)
class SequenceClassification(OneAnswer):
    """Cross-entropy over classes.

    Args:
        labels: names of the classes. (C,)
        max_length: tokens a text, or a pair together, is cut to.
        dataset: name of a GLUE task, which is compared by GLUE's metrics.
    """

    labels: tuple[str, ...] = field()  # without the default that Task has
    max_length: int
    dataset: str | None = None

    roles = (TEXT, TEXT_PAIR, LABEL)
    measures = named("cross_entropy", "accuracy", "f1", "macro_f1", "matthews")
    peft_type = "SEQ_CLS"
    model_class = "AutoModelForSequenceClassification"

    @classmethod
    def build(
        cls, options: TaskOptions, rows: DatasetDict, *, base: Any, dataset: str | None
    ) -> Self:
        """Build the task for the classes of `rows`."""
        names = rows["train"].features["label"].names
        return cls(tuple(names), options.max_length, dataset)

    @property
    def measured(self) -> tuple[str, ...]:
        """All measures; F1, of the second class, only if there are two."""
        return tuple(name for name in self.measures if name != "f1" or len(self.labels) == 2)

    @property
    def compared(self) -> tuple[str, ...]:
        """Cross-entropy and accuracy; for a task of GLUE, the benchmark's metrics first."""
        own = tuple(name for name in GLUE.get(self.dataset or "", ()) if name in self.measured)
        return (*own, "cross_entropy") if own else ("cross_entropy", "accuracy")

    def model_settings(self) -> dict[str, Any]:
        """Return number and names of the classes."""
        return class_settings(self.labels)

    def encode(
        self, rows: Dataset, processor: PreTrainedTokenizerBase, say: Say = _log.info
    ) -> Dataset:
        """Return token ids, not padded, and `labels`.

        Args:
            rows: columns text, text_pair (optional), label.
            processor: the tokenizer; cuts at `max_length`, or at its own limit if that is less.
            say: told how many texts were cut.
        """
        encoded = encode_texts(rows, processor, self.max_length, say)
        return Dataset.from_dict({**encoded, "labels": list(rows["label"])})

    def blind_loss(self, rows: Dataset) -> float:
        """Return the entropy of the classes."""
        return class_entropy(rows["labels"])

    def measure(self, logits: np.ndarray, labels: np.ndarray) -> dict[str, float]:
        """Return `class_metrics` of logits, (n, C), as an `Evaluation`."""
        metrics = class_metrics(logits, labels, len(self.labels))
        return Evaluation(metrics, one_class(logits, labels, self.labels))


def class_settings(labels: tuple[str, ...]) -> dict[str, Any]:
    """Return number and names of the classes and the kind of problem, for a model's configuration.

    A checkpoint trained for numbers, or for several labels per row, has another kind of problem, by
    which transformers would choose the loss.
    """
    return {
        "problem_type": "single_label_classification",
        "num_labels": len(labels),
        "id2label": dict(enumerate(labels)),
        "label2id": {name: i for i, name in enumerate(labels)},
    }


def class_entropy(labels: ArrayLike) -> float:
    """Return the cross-entropy, in nats, of always answering with the class frequencies.

    Args:
        labels: (n,)

    >>> round(class_entropy([0, 1, 0, 1]), 4)
    0.6931
    """
    shares = np.unique(np.asarray(labels), return_counts=True)[1] / np.size(labels)
    return float(-(shares * np.log(shares)).sum())


def one_class(logits: np.ndarray, labels: np.ndarray, names: Sequence[str]) -> str | None:
    """Return the class that is predicted for all rows, in words, or None (`metrics.alike`).

    Args:
        logits: (n, C)
        labels: (n,)
        names: of the classes. (C,)
    """
    predicted = logits.argmax(axis=1).tolist()
    return alike(predicted, labels.tolist(), lambda number: f"class '{names[number]}'")


def class_metrics(logits: np.ndarray, labels: np.ndarray, classes: int) -> dict[str, float]:
    """Return accuracy, cross-entropy in nats, macro F1 and Matthews correlation; F1 of two classes.

    Macro F1 gives every class the same weight. F1 is that of the second class. The correlation is 0
    if one class is predicted for all rows.

    Args:
        logits: (n, C)
        labels: (n,)
        classes: C
    """
    log_p = log_softmax(logits.astype(np.float64), axis=1)
    predicted = logits.argmax(axis=1)
    f1 = f1_score(labels, predicted, labels=np.arange(classes), average=None, zero_division=0)  # pyright: ignore[reportArgumentType]
    metrics = {
        "accuracy": float((predicted == labels).mean()),
        "cross_entropy": float(-log_p[np.arange(len(labels)), labels].mean()),  # -mean log p_y
        "macro_f1": float(np.mean(f1)),
        "matthews": float(matthews_corrcoef(labels, predicted)),
    }
    return metrics | ({"f1": float(np.asarray(f1)[1])} if classes == 2 else {})
