"""Prepare: a model with its head and the encoded rows of one replicate, from options."""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from datasets import Dataset, DatasetDict
from torch import Tensor, nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from autolora_meta.finetuning.batch_order import Collate
from autolora_meta.finetuning.causality import refuse_reading_ahead
from autolora_meta.finetuning.data import DataOptions, load_rows
from autolora_meta.finetuning.data.class_counts import counts
from autolora_meta.finetuning.evaluation import by_length
from autolora_meta.finetuning.heads import head_modules
from autolora_meta.finetuning.models import (
    ModelOptions,
    base_config,
    load_model,
    load_tokenizer,
    locate,
)
from autolora_meta.finetuning.padding import hide_padding
from autolora_meta.finetuning.quantized import refuse_without_gpu
from autolora_meta.finetuning.row_losses import row_losses
from autolora_meta.finetuning.tasks import TASKS, Processor, Task, TaskOptions, task_class
from autolora_meta.finetuning.vocabulary import refuse_foreign_ids

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Prepared:
    """What search and retraining start from.

    Args:
        model: the base with a new head, not yet wrapped.
        tokenizer: its tokenizer; for a model of pictures, its image processor.
        task: loss, metrics and collator.
        rows: encoded splits train, validation and test, disjoint.
        head: names of the modules that are trained in full.
        collate: makes a padded batch of encoded rows.
        classes: split -> class -> number of rows (of words, for tags); empty without classes.
        padding_hidden: whether the model ignores padding.
    """

    model: PreTrainedModel
    tokenizer: Processor
    task: Task
    rows: DatasetDict
    head: tuple[str, ...]
    collate: Collate
    classes: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    padding_hidden: bool = True

    def evaluate(self, model: PreTrainedModel, rows: Dataset, batch_size: int) -> dict[str, float]:
        """Return the task's metrics on encoded rows; they do not depend on `batch_size`.

        Args:
            model: in eval mode, with its adapter, on its device.
            rows: a split.
            batch_size: rows of a batch; 1 if the model reads padding.
        """
        size = batch_size if self.padding_hidden else 1
        return self.task.evaluate(model, by_length(rows), self.tokenizer, size)

    def row_losses(self, model: nn.Module, batch_size: int) -> Tensor:
        """Return the task's loss of each test row, whatever the rows beside it. (n,) float64

        Args:
            model: in eval mode, with its adapter, on its device.
            batch_size: rows of a batch; 1 if the model reads padding.
        """
        size = batch_size if self.padding_hidden else 1
        return row_losses(model, self.task.loss, self.rows["test"], self.collate, size)


def prepare(
    model: ModelOptions,
    data: DataOptions,
    options: TaskOptions,
    seed: int,
    *,
    given: DatasetDict | Dataset | None = None,
    task: Task | type[Task] | None = None,
    say: Callable[[str], None] = _LOG.info,
) -> Prepared:
    """Load, split and encode everything that one replicate needs.

    Args:
        model, data, options: what to load, and the task.
        seed: of the split and of the head.
        given: rows to use in place of `data.source`.
        task: a task of your own, in place of `options.type`.
        say: told what was chosen, dropped and cut.

    Raises:
        InputError: data or model cannot be used as given.
    """
    built, splits = task_and_rows(model, data, options, seed, given=given, task=task, say=say)
    base, tokenizer = load_model(model, built, seed)
    rows = DatasetDict({name: built.encode(part, tokenizer, say) for name, part in splits.items()})
    if shown := built.example(rows["train"], tokenizer):
        say(shown)
    if isinstance(tokenizer, PreTrainedTokenizerBase):
        refuse_foreign_ids(rows, tokenizer, base)
        hidden = hide_padding(built, base, tokenizer, rows, say)
        if type(built) in TASKS.values() and built.peft_type == "CAUSAL_LM":
            refuse_reading_ahead(base, rows["train"])
    else:
        hidden = True  # pictures are of one size
    collate = built.collator(tokenizer)
    counted = counts(splits, built.roles)
    return Prepared(base, tokenizer, built, rows, head_modules(base), collate, counted, hidden)


def task_and_rows(
    model: ModelOptions,
    data: DataOptions,
    options: TaskOptions,
    seed: int,
    *,
    given: DatasetDict | Dataset | None = None,
    task: Task | type[Task] | None = None,
    say: Callable[[str], None] = _LOG.info,
) -> tuple[Task, DatasetDict]:
    """Return the task and the rows of its splits, not encoded; read none of the model's weights.

    Arguments and errors are those of `prepare`.
    """
    locate(model.name)  # a mistyped path is refused before rows are read
    refuse_without_gpu(model.quantization)
    asked = task_class(options.type) if task is None else task
    splits = load_rows(
        data, asked.roles, seed, say=say, group=asked.group, given=given, chat=asked.chat
    )
    if not isinstance(asked, type):
        return asked, splits
    built = asked.build(options, splits, base=base_config(model), dataset=data.name)
    built.refuse_early(splits, lambda: load_tokenizer(model, built))
    return built, splits
