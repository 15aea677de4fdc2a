"""One number for each text, or pair of texts."""

import logging
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from datasets import Dataset, DatasetDict
from scipy.stats import rankdata
from transformers import PreTrainedTokenizerBase

from autolora_meta.finetuning.data.roles import TEXT, TEXT_PAIR, Role
from autolora_meta.finetuning.tasks.base import Say
from autolora_meta.finetuning.tasks.encoding import encode_texts
from autolora_meta.finetuning.tasks.metrics import Evaluation, alike, named
from autolora_meta.finetuning.tasks.one_answer import OneAnswer
from autolora_meta.finetuning.tasks.options import TaskOptions

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Regression(OneAnswer):
    """Mean squared error of one output; the task of STS-B.

    Args:
        max_length: tokens a text, or a pair together, is cut to.
    """

    max_length: int

    roles = (
        TEXT,
        TEXT_PAIR,
        Role("label", "number", ("label", "labels", "score", "rating", "target"), True, "number"),
    )
    measures = named("pearson", "spearman", "mean_squared_error")
    peft_type = "SEQ_CLS"
    model_class = "AutoModelForSequenceClassification"

    @classmethod
    def build(
        cls, options: TaskOptions, rows: DatasetDict, *, base: Any, dataset: str | None
    ) -> Self:
        """Build the task; it does not depend on the rows."""
        return cls(options.max_length)

    @property
    def compared(self) -> tuple[str, ...]:
        """The correlations by which STS-B is scored."""
        return ("pearson", "spearman")

    def model_settings(self) -> dict[str, Any]:
        """Return one output, and the squared error as its loss."""
        return {"num_labels": 1, "problem_type": "regression"}

    def encode(
        self, rows: Dataset, processor: PreTrainedTokenizerBase, say: Say = _log.info
    ) -> Dataset:
        """Return token ids, not padded, and the numbers as `labels`.

        Args:
            rows: columns text, text_pair (optional), label.
            processor: the tokenizer; cuts at `max_length`, or at its own limit if that is less.
            say: told how many texts were cut.
        """
        encoded = encode_texts(rows, processor, self.max_length, say)
        return Dataset.from_dict({**encoded, "labels": [float(value) for value in rows["label"]]})

    def blind_loss(self, rows: Dataset) -> float:
        """Return the variance of the numbers."""
        return float(np.var(rows["labels"]))

    def measure(self, logits: np.ndarray, labels: np.ndarray) -> dict[str, float]:
        """Return `number_metrics` of the model's outputs, (n, 1)."""
        outputs = logits[:, 0]
        metrics = number_metrics(outputs, labels)
        # A hundredth of the labels' spread is no difference.
        near = np.round((outputs - outputs[0]) / (0.01 * np.std(labels) or 1.0)) + 0.0
        one = alike(near.tolist(), labels.tolist(), lambda _: f"about {outputs.mean():.4g}")
        return Evaluation(metrics, one)


def number_metrics(predicted: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """Return Pearson and Spearman correlation, and the mean squared error.

    A correlation is 0 if either side is constant.

    Args:
        predicted: (n,)
        labels: (n,)
    """
    y, t = predicted.astype(np.float64), labels.astype(np.float64)
    return {
        "pearson": _correlation(y, t),
        "spearman": _correlation(rankdata(y), rankdata(t)),  # Pearson of the ranks
        "mean_squared_error": float(((y - t) ** 2).mean()),
    }


def _correlation(x: np.ndarray, y: np.ndarray) -> float:
    # r = <x - mean x, y - mean y> / (|x - mean x| |y - mean y|)
    x, y = x - x.mean(), y - y.mean()
    norm = np.linalg.norm(x) * np.linalg.norm(y)
    return float(x @ y / norm) if norm else 0.0
