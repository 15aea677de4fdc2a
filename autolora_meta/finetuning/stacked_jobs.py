"""Job: one retraining among those that share a pass; where it starts, and what it meets when."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain, islice, repeat
from typing import Any

import torch
from accelerate.data_loader import SeedableRandomSampler
from datasets import Dataset, concatenate_datasets
from torch import Tensor
from torch.utils.data import BatchSampler
from transformers import TrainingArguments, get_scheduler

from autolora_meta.errors import Apart
from autolora_meta.finetuning.lora import unwrapped_afterwards
from autolora_meta.finetuning.prepare import Prepared
from autolora_meta.finetuning.retrain import RetrainOptions, started, training_arguments
from autolora_meta.finetuning.shared_base import same_base
from autolora_meta.finetuning.stacked import adapter_state
from autolora_meta.finetuning.start import Start
from autolora_meta.finetuning.staying import stays
from autolora_meta.foundation.randomness import derive
from autolora_meta.ranks.pattern import RankPattern


@dataclass(frozen=True)
class Job:
    """One retraining of a stack: what `retrain` takes.

    Args:
        prepared: the base with its head, and encoded rows.
        pattern: ranks and scale.
        options: steps, learning rate and so on.
        seed: of the replicate.
        start: what a search trained; None: from scratch.
        by_row: the loss of each test row is wanted, in place of the task's metrics.
    """

    prepared: Prepared
    pattern: RankPattern
    options: RetrainOptions
    seed: int
    start: Start | None = None
    by_row: bool = False

    @cached_property
    def arguments(self) -> TrainingArguments:
        """What a Trainer would be given, for a CPU."""
        return training_arguments(self.options, "", derive(self.seed, "order"), "cpu")

    @cached_property
    def rows(self) -> Dataset:
        """The rows that it trains on."""
        return concatenate_datasets([self.prepared.rows["train"], self.prepared.rows["validation"]])

    def state(self, dropout: float) -> dict[str, Tensor]:
        """Return the adapter and head that its own retraining starts from."""
        model = self.prepared.model
        with unwrapped_afterwards(model):
            wrapped = started(model, self.prepared, self.pattern, dropout, self.seed, self.start)
            return adapter_state(wrapped)

    def order(self) -> list[list[int]]:
        """Return the numbers of the rows of each step, as a Trainer draws them."""
        sampler = SeedableRandomSampler(range(len(self.rows)), data_seed=self.arguments.seed)
        epoch = BatchSampler(sampler, self.options.batch_size, drop_last=False)
        return list(islice(chain.from_iterable(repeat(epoch)), self.options.steps))

    def rates(self) -> list[float]:
        """Return the learning rate of each step, of a Trainer's schedule."""
        given, steps = self.arguments, self.options.steps
        optimizer = torch.optim.SGD([torch.zeros((), requires_grad=True)], given.learning_rate)
        schedule = get_scheduler(
            given.lr_scheduler_type, optimizer, given.get_warmup_steps(steps), steps
        )
        rates = []
        for _ in range(steps):
            rates.append(float(optimizer.param_groups[0]["lr"]))
            optimizer.step()
            schedule.step()
        return rates


def refuse_unlike(jobs: Sequence[Job]) -> None:
    """Refuse jobs that one pass cannot serve.

    Raises:
        Apart: they have other bases, tasks, layers or scales, an order that is drawn while
            they train, or a model that reads padding.
    """
    first = jobs[0]
    for job in jobs[1:]:
        if _of_task(job) != _of_task(first):
            what = "tasks"
        elif job.options.precision != first.options.precision:
            what = "precisions"
        elif (job.pattern.names, job.pattern.scale) != (first.pattern.names, first.pattern.scale):
            what = "layers or scales"
        elif not same_base(job.prepared, first.prepared):
            what = "bases"
        else:
            continue
        raise Apart(f"adapters of different {what} cannot share a pass; train each apart")
    if any(job.options.group_by_length for job in jobs):
        raise Apart(
            "with retrain.group_by_length the order of rows is drawn while an adapter trains, so "
            "several cannot share a pass; leave it out, or train them one at a time"
        )
    if any(stays(job.prepared.model) for job in jobs):
        raise Apart(
            "a quantised base, or one with a device_map, stays as it was loaded, and rows of "
            "several adapters cannot be told apart in it; train the adapters one at a time"
        )
    if any(job.options.saves_memory for job in jobs):
        raise Apart(
            "retrain.accumulate and retrain.gradient_checkpointing save memory that several "
            "adapters in one pass would take; train the adapters one at a time"
        )
    if not all(job.prepared.padding_hidden for job in jobs):
        raise Apart(
            "the model reads padding, and rows of other adapters would change how much there is; "
            "train the adapters one at a time"
        )


def _of_task(job: Job) -> Any:
    task = job.prepared.task
    return type(task), task.labels, job.prepared.head
