"""Task: the interface of a task, to subclass for one of your own."""

import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
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

from autolora_meta.finetuning.batch_order import Collate
from autolora_meta.finetuning.data.roles import Role
from autolora_meta.finetuning.tasks.metrics import Metric
from autolora_meta.finetuning.tasks.options import TaskOptions
from autolora_meta.foundation.parts import rows as rows_of
from autolora_meta.foundation.progress import Say

Processor = PreTrainedTokenizerBase | BaseImageProcessor
_log = logging.getLogger(__name__)


class Task(ABC):
    """One kind of task.

    A task says which columns it reads (`roles`), how rows become inputs (`encode`), what is
    minimised (`loss`) and what is measured (`evaluate`). Register a class of yours in the
    entry-point group `autolora_meta.tasks`, and `task.type` takes its name; or give the class, or
    an object, to `prepare(config, task=...)`.

    Attributes:
        roles: the columns that it reads.
        group: the role whose equal values stay on one side of every cut; None: no such role.
        chat: whether it takes conversations too, as the columns that `data.chat_rows` makes.
        measures: metrics that it can measure, by name.
        peft_type: PEFT's name for it (`peft.TaskType`), stored in the adapter; None: none.
        model_class: name of the transformers auto class that puts its head on a base.
        tokenizer_settings: settings with which the tokenizer is loaded.
        labels: names of the classes; empty if there are none. (C,)

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
    chat: ClassVar[bool] = False
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
        """Build the task for these rows.

        Args:
            options: of the task.
            rows: splits train, validation and test, with columns named as the roles.
            base: configuration of the pretrained model, if known.
            dataset: `data.name`, the name of a benchmark's task.

        Raises:
            InputError: the task cannot be done on these rows or with this base.
        """

    @property
    def measured(self) -> tuple[str, ...]:
        """Metrics that it measures on these rows, with what is installed."""
        return tuple(self.measures)

    @property
    def lacking(self) -> Mapping[str, str]:
        """Metric -> what this machine lacks to measure it."""
        return {}

    @property
    def compared(self) -> tuple[str, ...]:
        """Metrics that a comparison reports by default, the main one first."""
        return self.measured

    def model_settings(self) -> dict[str, Any]:
        """Return settings of the model's configuration, such as the names of the classes."""
        return {}

    def refuse_early(self, rows: DatasetDict, tokenizer: Callable[[], Any]) -> None:
        """Refuse rows that cannot be encoded, before the model's weights are read.

        Args:
            rows: splits train, validation and test.
            tokenizer: loads the model's tokenizer, for a task that needs it to tell.

        Raises:
            InputError: there are some.
        """
        del rows, tokenizer

    def example(self, rows: Dataset, processor: Any) -> str | None:
        """Return a sentence that shows what of the first row is learned; None: all is.

        Args:
            rows: what `encode` returned.
            processor: the model's tokenizer, or its image processor.
        """
        del rows, processor
        return None

    @abstractmethod
    def encode(self, rows: Dataset, processor: Any, say: Say = _log.info) -> Dataset:
        """Return rows as the collator takes them.

        Args:
            rows: one split.
            processor: the model's tokenizer, or its image processor.
            say: told what was cut or left out.
        """

    def collator(self, processor: Any) -> Collate:
        """Return a function that makes a padded batch of tensors from encoded rows."""
        return DataCollatorWithPadding(processor)

    def loss(self, model: nn.Module, batch: Mapping[str, Any]) -> Tensor:
        """Return the loss of a batch for search and retraining; here, the one of the model."""
        return model(**batch).loss

    def counted(self, batch: Mapping[str, Any]) -> int:
        """Return how many the loss of a batch is the mean of; here, its rows.

        By it the losses of the parts of a batch make that of the whole (`search.accumulate`,
        `retrain.accumulate`). Override this along with `loss`, where it is a mean over tokens.
        """
        return rows_of(batch)

    def blind_loss(self, rows: Dataset) -> float | None:
        """Return the least `loss` of an answer that ignores its input, or None if not known.

        A search whose validation loss is no lower has learned nothing, and says so. Override this
        along with `loss`.

        Args:
            rows: what `encode` returned.
        """
        del rows
        return None

    @abstractmethod
    def evaluate(
        self, model: PreTrainedModel, rows: Dataset, processor: Any, batch_size: int
    ) -> dict[str, float]:
        """Return the metrics of `measured` on encoded test rows.

        Args:
            model: in eval mode, with its adapter, on its device.
            rows: what `encode` returned, sorted by length.
            processor: the model's tokenizer, or its image processor.
            batch_size: rows a batch.
        """
