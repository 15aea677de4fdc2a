"""Tasks with one answer for each row: what they measure follows from logits and labels."""

from abc import abstractmethod
from typing import Any

import numpy as np
from datasets import Dataset
from transformers import PreTrainedModel

from autolora_meta.finetuning.evaluation import predictions
from autolora_meta.finetuning.tasks.base import Task


class OneAnswer(Task):
    """A task with one answer for each row, so that several adapters can be tested in one pass."""

    @abstractmethod
    def measure(self, logits: np.ndarray, labels: np.ndarray) -> dict[str, float]:
        """Return the metrics of a model's answers.

        Args:
            logits: (n, C)
            labels: (n,)
        """

    def evaluate(
        self, model: PreTrainedModel, rows: Dataset, processor: Any, batch_size: int
    ) -> dict[str, float]:
        """Return what `measure` gives for the model's logits."""
        return self.measure(*predictions(model, rows, self.collator(processor), batch_size))
