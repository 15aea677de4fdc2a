"""Tasks: what a head looks like, how rows are encoded, what is minimised and what is measured."""

from collections.abc import Callable, Mapping
from typing import Any, Literal, Protocol

import numpy as np
from datasets import Dataset, DatasetDict
from pydantic import Field
from torch import Tensor, nn
from transformers import PreTrainedTokenizerBase

from autolora_meta.finetuning.batches import Collate
from autolora_meta.finetuning.tasks.sequence_classification import SequenceClassification
from autolora_meta.options import Options


class TaskOptions(Options):
    """What the model learns to do."""

    type: Literal["sequence-classification"] = Field(
        default="sequence-classification",
        description="sequence-classification: one class for each text or pair of texts",
    )
    max_length: int = Field(
        default=128,
        ge=4,
        description="tokens a text is cut to. Batches are padded to their own longest text, so a "
        "large number costs nothing where texts are short; how many were cut is said. Time of a "
        "step grows with it where texts are long",
    )


class Task(Protocol):
    """One kind of task. A new one is a class like this in a file of its own.

    Attributes:
        peft_type: PEFT's name for it (`peft.TaskType`), which the adapter carries.
        model_class: name of the transformers auto class that puts its head on a base.
        labels: names of the classes; empty where there are none. (C,)
    """

    @property
    def peft_type(self) -> str: ...

    @property
    def model_class(self) -> str: ...

    @property
    def labels(self) -> tuple[str, ...]: ...

    def model_settings(self) -> dict[str, Any]:
        """Settings of the model's configuration, such as the names of the classes."""
        ...

    def encode(
        self, rows: Dataset, tokenizer: PreTrainedTokenizerBase, say: Callable[[str], None] = ...
    ) -> Dataset:
        """Rows as the model takes them, with `labels`; says what was cut."""
        ...

    def collator(self, tokenizer: PreTrainedTokenizerBase) -> Collate:
        """A function that makes a padded batch of tensors from a list of encoded rows."""
        ...

    def loss(self, model: nn.Module, batch: Mapping[str, Any]) -> Tensor:
        """The scalar that search and retrain minimise on a batch."""
        ...

    def metrics(self, logits: np.ndarray, labels: np.ndarray) -> dict[str, float]:
        """What is measured on test rows, from the model's output and the labels."""
        ...


def build_task(options: TaskOptions, rows: DatasetDict) -> Task:
    """The task that `options` names, for the classes of `rows`."""
    names = rows["train"].features["label"].names
    return SequenceClassification(labels=tuple(names), max_length=options.max_length)
