"""One class for each picture."""

import logging
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
import torch
from datasets import Dataset, DatasetDict
from transformers import BaseImageProcessor

from autolora_meta.finetuning.batch_order import Collate
from autolora_meta.finetuning.data.roles import LABEL, Role
from autolora_meta.finetuning.tasks.base import Say
from autolora_meta.finetuning.tasks.metrics import Evaluation, named
from autolora_meta.finetuning.tasks.one_answer import OneAnswer
from autolora_meta.finetuning.tasks.options import TaskOptions
from autolora_meta.finetuning.tasks.sequence_classification import (
    class_entropy,
    class_metrics,
    class_settings,
    one_class,
)

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ImageClassification(OneAnswer):
    """Cross-entropy over classes. PEFT has no name for this task.

    Args:
        labels: names of the classes. (C,)
    """

    labels: tuple[str, ...] = field()  # without the default that Task has

    roles = (Role("image", "image", ("image", "img", "picture"), True, "the picture"), LABEL)
    measures = named("cross_entropy", "accuracy", "macro_f1")
    model_class = "AutoModelForImageClassification"

    @classmethod
    def build(
        cls, options: TaskOptions, rows: DatasetDict, *, base: Any, dataset: str | None
    ) -> Self:
        """Build the task for the classes of `rows`."""
        return cls(tuple(rows["train"].features["label"].names))

    @property
    def compared(self) -> tuple[str, ...]:
        """Cross-entropy and accuracy."""
        return ("cross_entropy", "accuracy")

    def model_settings(self) -> dict[str, Any]:
        """Return number and names of the classes."""
        return class_settings(self.labels)

    def encode(self, rows: Dataset, processor: BaseImageProcessor, say: Say = _log.info) -> Dataset:
        """Return the pictures unchanged, far smaller than the model's inputs, and `labels`.

        Args:
            rows: columns image and label.
            processor: not used.
            say: told nothing: a picture is resized, never cut.
        """
        return rows.select_columns(["image", "label"]).rename_column("label", "labels")

    def collator(self, processor: BaseImageProcessor) -> Collate:
        """Return a collator that resizes and normalises the pictures of a batch."""

        def collate(rows: list[dict[str, Any]]) -> dict[str, Any]:
            pictures = [row["image"].convert("RGB") for row in rows]
            batch = dict(processor(pictures, return_tensors="pt"))  # (B, 3, H, W)
            return batch | {"labels": torch.tensor([row["labels"] for row in rows])}

        return collate

    def blind_loss(self, rows: Dataset) -> float:
        """Return the entropy of the classes."""
        return class_entropy(rows["labels"])

    def measure(self, logits: np.ndarray, labels: np.ndarray) -> dict[str, float]:
        """Return the `measures` of logits, (n, C)."""
        metrics = class_metrics(logits, labels, len(self.labels))
        measured = {name: metrics[name] for name in self.measures}
        return Evaluation(measured, one_class(logits, labels, self.labels))
