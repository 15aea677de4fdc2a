"""Program: what a search needs, from a configuration or from Python, and its gated model."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from datasets import concatenate_datasets
from peft import PeftModel
from torch import Tensor, nn

from autolora_meta.bilevel.arrival import refuse_unreached
from autolora_meta.bilevel.feed import Loss, to_device
from autolora_meta.bilevel.gating import Gates, gated
from autolora_meta.bilevel.options import SearchOptions, Selection
from autolora_meta.config.fingerprint import fingerprint
from autolora_meta.config.run import RunConfig
from autolora_meta.errors import InputError
from autolora_meta.finetuning.accumulated import stream_of
from autolora_meta.finetuning.buffers import refuse_moving_buffers, standing_still
from autolora_meta.finetuning.checkpointing import checkpointed
from autolora_meta.finetuning.heads import refuse_new_and_frozen
from autolora_meta.finetuning.lora import (
    LoraOptions,
    layer_costs,
    refuse_narrow_layers,
    unwrapped_afterwards,
    wrap_for_search,
)
from autolora_meta.finetuning.prepare import Prepared
from autolora_meta.finetuning.shared_loss import whole
from autolora_meta.finetuning.staying import moved
from autolora_meta.finetuning.targets import Targets, choose_targets
from autolora_meta.foundation.device import begin
from autolora_meta.foundation.parts import first, in_parts
from autolora_meta.foundation.randomness import derive, seeded
from autolora_meta.ranks.rules import RankOptions, bounds


@dataclass(frozen=True)
class Program:
    """What a search needs: model, batches, loss and options."""

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
    blind_loss: float | None = None
    spectrum: Tensor | None = None  # of a plain search that ran before, (L, k)

    @property
    def formulated(self) -> Selection:
        """The selection as a formulation knows it: a plain search has frozen gates on more rows."""
        return "frozen" if self.selection == "plain" else self.selection

    @property
    def own_ranks(self) -> RankOptions:
        """How ranks are read from what this search has: without a spectrum by singular values."""
        return self.ranks if self.spectrum is not None else own_ranks(self.ranks)

    @property
    def followed_ranks(self) -> RankOptions:
        """How ranks are read during the search, when sensitivity is not measured yet.

        Singular values take its place: they belong to the same directions.
        """
        ranks = self.own_ranks
        if ranks.importance != "sensitivity":
            return ranks
        return ranks.model_copy(update={"importance": "singular"})

    def targets(self) -> Targets:
        """Return the layers to adapt, and those that a shared name left out.

        `all-linear` and `default` run the first training batch forward, to leave out layers that
        the model never calls.
        """
        lora, home = self.lora, next(self.model.parameters()).device

        def forward() -> None:
            batch = to_device(first(self.train.peek()), self.device)
            _scalar(whole(self.loss)(moved(self.model, self.device), batch))

        try:
            return choose_targets(
                self.model, lora.targets, self.head, lora.k, lora.exclude, forward
            )
        finally:
            moved(self.model, home)

    @contextmanager
    def opened(self) -> Iterator[tuple[PeftModel, Gates, tuple[int, ...]]]:
        """Yield the model wrapped and gated, the gates and the costs; restore the model after."""
        begin(self.device)
        refuse_new_and_frozen(self.model, self.head)
        names = self.targets().names
        # What no allocation could do is refused before anything runs.
        costs = layer_costs(self.model, names)
        self._refuse_impossible(names, costs)
        with unwrapped_afterwards(self.model), seeded(derive(self.seed, "search")):
            wrapped = wrap_for_search(
                self.model, names, self.lora, derive(self.seed, "factors"), head=self.head
            )
            moved(wrapped, self.device).train()
            gates = Gates(names, self.lora.k, self.options.gates).to(self.device)

            def loss(batch: Any) -> Tensor:
                return _scalar(self.loss(wrapped, batch))

            batch = to_device(first(self.train.peek()), self.device)
            saving = checkpointed(wrapped, self.options.gradient_checkpointing)
            with (
                saving,
                standing_still(wrapped),
                gated(wrapped, gates, forward=lambda: loss(batch)),
            ):
                refuse_moving_buffers(wrapped, lambda: loss(batch))
                with self._batches() as another:
                    refuse_unreached(wrapped, gates, loss, another)
                yield wrapped, gates, costs

    def _refuse_impossible(self, names: Sequence[str], costs: Sequence[int]) -> None:
        """Refuse options under which no allocation on these layers is possible."""
        refuse_narrow_layers(self.model, names, self.lora.k)
        bounds(self.lora.k, self.ranks)
        if self.ranks.importance == "sensitivity" and not self.options.sensitivity_batches:
            raise InputError(
                "ranks.importance is sensitivity, and search.sensitivity_batches is 0, so it would "
                "not be measured; set search.sensitivity_batches to 1 or more (each costs one "
                f"forward for each of the {len(names) * self.lora.k} components), or take another "
                "importance"
            )
        if self.ranks.rule == "budget":
            self.ranks.budget.checked_limit(costs, self.ranks.min_rank)

    @contextmanager
    def _batches(self) -> Iterator[Callable[[], Any]]:
        """Yield a function that gives training batches; put the stream back afterwards."""
        place, given = self.train.state_dict(), 0

        def another() -> Any:
            nonlocal given
            given += 1
            batch = self.train.peek() if given == 1 else self.train.next()
            return to_device(first(batch), self.device)

        try:
            yield another
        finally:
            if given > 1:
                self.train.load_state_dict(place)


def _scalar(value: object) -> Tensor:
    """Return `value` if it is a loss, a tensor with one number."""
    if not isinstance(value, Tensor) or value.numel() != 1:
        given = f"shape {tuple(value.shape)}" if isinstance(value, Tensor) else type(value).__name__
        raise InputError(
            f"loss(model, batch) must give a tensor with one number; given {given}. With a model "
            "of transformers: loss=lambda model, batch: model(**batch).loss"
        )
    return value


def own_ranks(ranks: RankOptions) -> RankOptions:
    """Return options under which a search can be read before its spectrum is there: singular."""
    return ranks.model_copy(update={"importance": "singular"}) if ranks.read_plain else ranks


def search_seeds(seed: int, count: int) -> list[int]:
    """Return the seeds of `count` searches of one replicate; the first is its own seed."""
    return [seed, *(derive(seed, "another search", i) for i in range(1, count))]


def program_of(
    config: RunConfig,
    prepared: Prepared,
    seed: int,
    selection: Selection = "learned",
    spectrum: Tensor | None = None,
) -> Program:
    """Return the program of one search of one replicate.

    Args:
        config: of the run.
        prepared: base model and encoded rows of this replicate.
        seed: of this search.
        selection: of the gates: learned, frozen or random; plain: frozen, on all rows.
        spectrum: of a plain search with the same seed that ran before. (L, k)
    """
    options, collate = config.search_as_read.of(selection), prepared.collate
    train, validation = prepared.rows["train"], prepared.rows["validation"]
    if selection == "plain":
        train = concatenate_datasets([train, validation])
    parts = options.accumulate, prepared.task.counted
    return Program(
        prepared.model,
        stream_of(train, collate, options.batch_size, derive(seed, "train order"), *parts),
        stream_of(
            validation, collate, options.outer_batch_size, derive(seed, "outer order"), *parts
        ),
        prepared.task.loss if parts[0] == 1 else in_parts(prepared.task.loss),
        config.lora,
        prepared.head,
        options,
        config.ranks,
        seed,
        config.runtime.resolved_device,
        selection,
        prepared.task.peft_type,
        fingerprint(config, seed, selection),
        prepared.task.blind_loss(validation),
        spectrum,
    )
