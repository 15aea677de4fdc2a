"""Program: what a search needs, wherever it came from, and the gated model that it opens."""

import hashlib
import json
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from peft import PeftModel
from torch import Tensor, nn

from autolora_meta import __version__
from autolora_meta.bilevel.batches import Loss, to_device
from autolora_meta.bilevel.options import SearchOptions, Selection
from autolora_meta.config import RunConfig
from autolora_meta.errors import InputError
from autolora_meta.finetuning.batches import BatchStream
from autolora_meta.finetuning.lora import (
    LoraOptions,
    layer_costs,
    refuse_narrow_layers,
    target_layers,
    unwrapped_afterwards,
    wrap_for_search,
)
from autolora_meta.finetuning.prepare import Prepared
from autolora_meta.finetuning.prepare import prepare as prepare_parts
from autolora_meta.gating import Gates, gated
from autolora_meta.randomness import derive, seeded
from autolora_meta.ranks.rules import RankOptions, bounds

_LOG = logging.getLogger(__name__)


def prepare(
    config: RunConfig, seed: int | None = None, *, say: Callable[[str], None] = _LOG.info
) -> Prepared:
    """Load, split and encode everything that one replicate of a run needs.

    Args:
        config: of the run.
        seed: of the replicate: of its split and its head; `config.seed` where it is not given.
        say: told what was chosen, dropped and cut.

    Raises:
        InputError: data or model cannot be used as given.

    >>> prepare(RunConfig.load("quickstart")).rows["train"]  # doctest: +SKIP
    """
    seed = config.seed if seed is None else seed
    return prepare_parts(config.model, config.data, config.task, seed, say=say)


def fingerprint(config: RunConfig, seed: int, selection: Selection) -> str:
    """A hash of all that a search depends on, by which a finished one is known again.

    Args:
        config: of the run; ranks, retraining and arms play no part.
        seed: of the replicate.
        selection: learned gates, or frozen ones.
    """
    sections = config.model_dump(mode="json", include={"model", "data", "task", "lora", "search"})
    about = {**sections, "seed": seed, "selection": selection, "version": __version__}
    return hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True)
class Program:
    """What a search needs, wherever it came from."""

    model: nn.Module
    train: Any
    validation: Any
    loss: Loss
    lora: LoraOptions
    head: tuple[str, ...]
    options: SearchOptions
    ranks: RankOptions
    seed: int
    device: torch.device | str
    selection: Selection = "learned"
    task_type: str | None = None
    fingerprint: str | None = None

    @contextmanager
    def opened(self) -> Iterator[tuple[PeftModel, Gates, tuple[int, ...]]]:
        """The model wrapped and gated inside, with the costs; afterwards it is as it was."""
        names = target_layers(self.model, self.lora.targets, self.head)
        # What no allocation could do is refused before anything runs.
        costs = layer_costs(self.model, names)
        refuse_narrow_layers(self.model, names, self.lora.k)
        bounds(self.lora.k, self.ranks)
        if self.ranks.rule == "budget":
            self.ranks.budget.checked_limit(costs, self.ranks.min_rank)
        with unwrapped_afterwards(self.model), seeded(derive(self.seed, "search")):
            wrapped = wrap_for_search(
                self.model, names, self.lora, derive(self.seed, "factors"), head=self.head
            )
            wrapped.to(self.device).train()
            gates = Gates(names, self.lora.k, self.options.gates).to(self.device)
            batch = to_device(self.train.peek(), self.device)
            with gated(wrapped, gates, forward=lambda: _scalar(self.loss(wrapped, batch))):
                yield wrapped, gates, costs


def _scalar(value: object) -> None:
    """Refuse what is no loss."""
    if not isinstance(value, Tensor) or value.numel() != 1:
        given = f"shape {tuple(value.shape)}" if isinstance(value, Tensor) else type(value).__name__
        raise InputError(
            f"loss(model, batch) must give a tensor with one number; given {given}. With a model "
            "of transformers: loss=lambda model, batch: model(**batch).loss"
        )


def program_of(
    config: RunConfig, prepared: Prepared, seed: int, selection: Selection = "learned"
) -> Program:
    """What the search of one replicate needs.

    Args:
        config: of the run.
        prepared: base model and encoded rows of this replicate.
        seed: of this replicate.
        selection: learned gates, or frozen ones.
    """
    options, collate = config.search, prepared.collate
    train, validation = prepared.rows["train"], prepared.rows["validation"]
    return Program(
        prepared.model,
        BatchStream(train, collate, options.batch_size, derive(seed, "train order")),
        BatchStream(validation, collate, options.outer_batch_size, derive(seed, "outer order")),
        prepared.task.loss,
        config.lora,
        prepared.head,
        options,
        config.ranks,
        seed,
        config.runtime.resolved_device,
        selection,
        prepared.task.peft_type,
        fingerprint(config, seed, selection),
    )
