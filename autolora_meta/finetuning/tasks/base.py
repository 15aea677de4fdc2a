"""Task: what a kind of task is, and all that a person writes to add one of their own."""

import logging
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, Self

from datasets import Dataset, DatasetDict
from torch import Tensor, nn
from transformers import (
    BaseImageProcessor,
    DataCollatorWithPadding,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from autolora_meta.finetuning.batches import Collate
from autolora_meta.finetuning.data.roles import Role
from autolora_meta.finetuning.tasks.metrics import Metric
from autolora_meta.finetuning.tasks.options import TaskOptions
from autolora_meta.foundation.progress import Say

Processor = PreTrainedTokenizerBase | BaseImageProcessor
_log = logging.getLogger(__name__)


class Task(ABC):
    """One kind of task: a subclass in a file of its own.

    A task says what it reads (`roles`), how rows become what the model takes (`encode`), what is
    minimised (`loss`) and what is measured (`evaluate`). A package of yours registers its class in
    the entry-point group `autolora_meta.tasks`, and `task.type` then takes its name; or give an
    object, or the class, to `prepare(config, task=...)`.

    Attributes:
        roles: the columns that it reads.
        group: the role whose equal values stay on one side of every cut; None: no such role.
        measures: every metric that it can measure, and how each is read.
        peft_type: PEFT's name for it (`peft.TaskType`), which the adapter carries; None: none.
        model_class: name of the transformers auto class that puts its head on a base.
        tokenizer_settings: how the tokenizer is loaded, beyond its own settings.
        labels: names of the classes; empty where there are none. (C,)

    Example:
        >>> class Toxicity(Task):                                            # doctest: +SKIP
        ...     roles = (TEXT, Role("label", "number", ("toxicity",)))
        ...     measures = named("mean_squared_error")
        ...     model_class = "AutoModelForSequenceClassification"
        ...
        ...     @classmethod
        ...     def build(cls, options, rows, **given):
        ...         return cls()
        ...
        ...     def model_settings(self):
        ...         return {"num_labels": 1}
        ...
        ...     def encode(self, rows, processor, say=print):
        ...         encoded = processor(list(rows["text"]), truncation=True)
        ...         return Dataset.from_dict({**encoded, "labels": list(rows["label"])})
        ...
        ...     def loss(self, model, batch):
        ...         inputs = {k: v for k, v in batch.items() if k != "labels"}
        ...         return huber_loss(model(**inputs).logits[:, 0], batch["labels"])
        ...
        ...     def evaluate(self, model, rows, processor, batch_size):
        ...         logits, labels = predictions(model, rows, self.collator(processor), batch_size)
        ...         return {"mean_squared_error": float(((logits[:, 0] - labels) ** 2).mean())}
    """

    roles: ClassVar[tuple[Role, ...]]
    group: ClassVar[str | None] = None
    measures: ClassVar[Mapping[str, Metric]]
    peft_type: str | None = None
    model_class: str
    tokenizer_settings: ClassVar[Mapping[str, Any]] = {}
    labels: tuple[str, ...] = ()

    @classmethod
    @abstractmethod
    def build(
        cls,
        options: TaskOptions,
        rows: DatasetDict,
        *,
        base: PreTrainedConfig | None,
        dataset: str | None,
    ) -> Self:
        """The task for a person's rows.

        Args:
            options: of the task.
            rows: splits train, validation and test, their columns named as the roles.
            base: configuration of the pretrained model; None where there is none yet.
            dataset: `data.name`: which of the tasks of a benchmark it is.

        Raises:
            InputError: the task cannot be done on these rows or with this base.
        """

    @property
    def measured(self) -> tuple[str, ...]:
        """The metrics that it does measure, on these rows and with what is installed."""
        return tuple(self.measures)

    @property
    def lacking(self) -> Mapping[str, str]:
        """Metrics that this machine cannot measure -> what it lacks; nothing else is lacking."""
        return {}

    @property
    def compared(self) -> tuple[str, ...]:
        """What a comparison reports where the person names no metrics, the main one first."""
        return self.measured

    def model_settings(self) -> dict[str, Any]:
        """Settings of the model's configuration, such as the names of the classes."""
        return {}

    @abstractmethod
    def encode(self, rows: Dataset, processor: Any, say: Say = _log.info) -> Dataset:
        """Rows as the collator takes them; says what was cut or left out.

        Args:
            rows: one split.
            processor: the model's tokenizer, or its image processor.
            say: told what a person should know.
        """

    def collator(self, processor: Any) -> Collate:
        """A function that makes a padded batch of tensors from a list of encoded rows."""
        return DataCollatorWithPadding(processor)

    def loss(self, model: nn.Module, batch: Mapping[str, Any]) -> Tensor:
        """The scalar that search and retrain minimise on a batch; here, what the model computes."""
        return model(**batch).loss

    def blind_loss(self, rows: Dataset) -> float | None:
        """The least `loss` of an answer that does not look at its input; None: not known.

        A search whose validation loss is no lower has learned nothing that ranks could be read
        from, and says so. Override it along with `loss`.

        Args:
            rows: what `encode` gave.
        """
        del rows
        return None

    @abstractmethod
    def evaluate(
        self, model: PreTrainedModel, rows: Dataset, processor: Any, batch_size: int
    ) -> dict[str, float]:
        """What is measured on encoded test rows: every metric of `measured`.

        Args:
            model: in eval mode, with its adapter, on its device.
            rows: what `encode` gave, those of like length side by side.
            processor: the model's tokenizer, or its image processor.
            batch_size: rows a batch.
        """
