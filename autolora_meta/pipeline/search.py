"""The search: a configuration, or a person's own objects, in; importance and ranks out."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, overload

import torch
from torch import nn
from transformers import PreTrainedModel

from autolora_meta.bilevel.engine import Row
from autolora_meta.bilevel.options import SearchOptions, Selection
from autolora_meta.config.run import RunConfig
from autolora_meta.errors import InputError
from autolora_meta.finetuning.batches import LoaderStream
from autolora_meta.finetuning.buffers import running_statistics
from autolora_meta.finetuning.heads import head_modules
from autolora_meta.finetuning.lora import LoraOptions
from autolora_meta.finetuning.prepare import Prepared
from autolora_meta.finetuning.tasks import refuse_lacking
from autolora_meta.foundation.device import threads, usable_device
from autolora_meta.foundation.options import read
from autolora_meta.foundation.progress import Progress
from autolora_meta.foundation.randomness import derive
from autolora_meta.pipeline.prepare import prepare
from autolora_meta.pipeline.program import Loss, Program, program_of, search_seeds
from autolora_meta.pipeline.result import SearchResult
from autolora_meta.pipeline.running import run_programs
from autolora_meta.ranks.options import RankOptions, kept_under


@dataclass(frozen=True)
class Plan:
    """What a run would work on: gated layers, their costs, and what was said while loading.

    `classes` has the rows of each class in each split, or the words with each tag.
    """

    names: tuple[str, ...]
    costs: tuple[int, ...]
    said: tuple[str, ...]
    classes: Mapping[str, Mapping[str, int]]

    def sentences(self, config: RunConfig) -> str:
        """Return what is about to happen: the rows, the layers, the budget, the work."""
        ranks, search = config.ranks, config.search
        chosen = f"budget {ranks.budget}" if ranks.rule == "budget" else f"rule {ranks.rule}"
        work = (
            f"{len(self.names)} layers of k = {config.lora.k} components, {sum(self.costs):,} "
            f"parameters per rank, {chosen}; "
            f"hypergradient {search.hypergradient.method}, {search.schedule}"
        )
        return "\n".join([*self.said, work])


@overload
def search(
    model: RunConfig,
    *,
    seed: int | None = None,
    selection: Selection = "learned",
    prepared: Prepared | None = None,
    progress: Progress | None = None,
    observe: Callable[[Row], None] = lambda row: None,
) -> SearchResult: ...


@overload
def search(
    model: nn.Module,
    train: Iterable[Any],
    validation: Iterable[Any],
    *,
    loss: Loss,
    targets: str | Sequence[str] = "all-linear",
    budget: int | str | None = None,
    head: Sequence[str] = (),
    lora: Mapping[str, Any] | None = None,
    options: Mapping[str, Any] | None = None,
    ranks: Mapping[str, Any] | None = None,
    seed: int = 0,
    selection: Selection = "learned",
    device: torch.device | str = "cpu",
    progress: Progress | None = None,
    observe: Callable[[Row], None] = lambda row: None,
) -> SearchResult: ...


def search(
    model: RunConfig | nn.Module,
    train: Iterable[Any] | None = None,
    validation: Iterable[Any] | None = None,
    **settings: Any,
) -> SearchResult:
    """Learn how much each rank-1 component of each layer is worth.

    Either from a configuration:

    >>> result = search(RunConfig.load("quickstart"))                       # doctest: +SKIP

    or from your own objects. The model is a plain module: it is wrapped for the search and comes
    back without hooks, its weights unchanged.

    >>> result = search(model, train_loader, validation_loader,             # doctest: +SKIP
    ...                 loss=lambda model, batch: model(**batch).loss,
    ...                 targets=["query", "value"], budget="uniform:2")

    Args:
        model: a RunConfig, or any module with Linear, Conv1D or Conv2d layers.
        train: batches of the inner problem; iterated again and again.
        validation: batches of the outer problem; rows that `train` does not hold.
        loss: (model, batch) -> scalar tensor.
        targets: `all-linear`, PEFT's `default` for the architecture, or names of layers.
        budget: adapter parameters, `uniform:R` or `total-rank:N` (`RankOptions.budget`); uniform:1
            where `ranks` names no rule that has none.
        head: names of modules that are trained in full in the inner problem; by default the head of
            a transformers model, nothing of any other.
        lora: k, scale and dropout (`LoraOptions`).
        options: schedule, optimizers, hypergradient, number of searches (`SearchOptions`).
        ranks: importance and rule (`RankOptions`).
        seed: of the factors, of the order of batches and of the dropout masks; with
            `options={"seeds": n}` that of the first of n searches, whose importance is pooled.
        selection: learned; or frozen, which leaves all gates at their start: plain LoRA, read out
            the same way; or random, which moves them along noise.
        device: where the search runs; the model comes back to where it was.
        prepared: with a RunConfig: model and rows, where they are at hand already.
        progress: told once per inner step.
        observe: told one row of figures after each outer step.

    Raises:
        InputError: a target that is unknown or cannot be gated, a budget that is too small.
    """
    if isinstance(model, RunConfig):
        if train is not None or validation is not None:
            raise InputError(
                "a RunConfig brings its own rows (data.source); give train and validation with a "
                "model of your own only"
            )
        return _search_config(model, **settings)
    if train is None or validation is None:
        raise InputError(
            "search(model, train, validation, loss=...) needs batches of both: train for the LoRA "
            "factors, validation for the gates"
        )
    return _search_objects(model, train, validation, **settings)


def _search_config(
    config: RunConfig,
    *,
    seed: int | None = None,
    selection: Selection = "learned",
    prepared: Prepared | None = None,
    progress: Progress | None = None,
    observe: Callable[[Row], None] = lambda row: None,
) -> SearchResult:
    seed = config.seed if seed is None else seed
    with threads(config.runtime.threads):
        prepared = prepared or prepare(config, seed)
        seeds = search_seeds(seed, config.search.seeds)
        programs = [program_of(config, prepared, one, selection) for one in seeds]
        return run_programs(programs, progress=progress, observe=observe)


def check(config: RunConfig, *, tested: bool = False) -> "Plan":
    """Everything that can be found wrong before a search: rows, model, layers, gates, budget.

    Args:
        config: of the search or of the run.
        tested: what is retrained will be measured, so that nothing for that may be lacking.

    Raises:
        InputError: the configuration cannot work on this model and data.
    """
    said: list[str] = []
    usable_device(config.runtime.device)  # refused before anything is loaded
    prepared = prepare(config, say=said.append)
    if tested:
        refuse_lacking(prepared.task, config.compare.named)
    program = program_of(config, prepared, config.seed)
    said += program.targets().sentences()
    with program.opened() as (wrapped, gates, costs):
        if still := len(running_statistics(wrapped)):
            said.append(
                f"the running statistics of {still} layers (batch norm) stand still, in search and "
                "retraining: an adapter does not hold them"
            )
        return Plan(gates.names, costs, tuple(said), prepared.classes)


def _search_objects(
    model: nn.Module,
    train: Iterable[Any],
    validation: Iterable[Any],
    *,
    loss: Loss,
    targets: str | Sequence[str] = "all-linear",
    budget: int | str | None = None,
    head: Sequence[str] = (),
    lora: Mapping[str, Any] | None = None,
    options: Mapping[str, Any] | None = None,
    ranks: Mapping[str, Any] | None = None,
    seed: int = 0,
    selection: Selection = "learned",
    device: torch.device | str = "cpu",
    progress: Progress | None = None,
    observe: Callable[[Row], None] = lambda row: None,
) -> SearchResult:
    allocation = {**(ranks or {}), **({} if budget is None else {"budget": budget})}
    lora_options = read(LoraOptions, {**(lora or {}), "targets": targets}, "lora")
    search_options = read(SearchOptions, options or {}, "options")
    rank_options = read(
        RankOptions, kept_under({"budget": "uniform:1"}, allocation) | allocation, "ranks"
    )
    programs = [
        Program(
            model,
            LoaderStream(train, derive(one, "train order")),
            LoaderStream(validation, derive(one, "outer order")),
            loss,
            lora_options,
            tuple(head) or (head_modules(model) if isinstance(model, PreTrainedModel) else ()),
            search_options,
            rank_options,
            one,
            usable_device(str(device)),
            selection,
        )
        for one in search_seeds(seed, search_options.seeds)
    ]
    return run_programs(programs, progress=progress, observe=observe)
