"""Prepare: from options to a model with its head, and the encoded rows of one replicate."""

import logging
from collections.abc import Callable
from dataclasses import dataclass

from datasets import DatasetDict
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from autolora_meta.finetuning.batches import Collate
from autolora_meta.finetuning.data import DataOptions, load_rows
from autolora_meta.finetuning.models import ModelOptions, head_modules, load_model
from autolora_meta.finetuning.tasks import Task, TaskOptions, build_task

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Prepared:
    """What search and retrain start from.

    Args:
        model: the base with a new head, not yet wrapped.
        tokenizer: its tokenizer.
        task: loss, metrics and collator.
        rows: encoded splits train, validation and test, disjoint.
        head: names of the modules that are trained in full.
        collate: makes a padded batch of encoded rows.
    """

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    task: Task
    rows: DatasetDict
    head: tuple[str, ...]
    collate: Collate


def prepare(
    model: ModelOptions,
    data: DataOptions,
    task: TaskOptions,
    seed: int,
    *,
    say: Callable[[str], None] = _LOG.info,
) -> Prepared:
    """Load, split and encode everything that one replicate needs.

    Args:
        model, data, task: what to load.
        seed: of the split and of the head.
        say: told what was chosen, dropped and cut.

    Raises:
        InputError: data or model cannot be used as given.
    """
    splits = load_rows(data, seed, say=say)
    built = build_task(task, splits)
    base, tokenizer = load_model(model, built, seed)
    rows = DatasetDict({name: built.encode(part, tokenizer, say) for name, part in splits.items()})
    return Prepared(base, tokenizer, built, rows, head_modules(base), built.collator(tokenizer))
