"""The search: a configuration, or a person's own objects, in; importance and ranks out."""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, overload

import torch
from torch import nn
from transformers import PreTrainedModel

from autolora_meta import plugins
from autolora_meta.bilevel.engine import Row
from autolora_meta.bilevel.options import SearchOptions, Selection
from autolora_meta.config import RunConfig
from autolora_meta.device import threads, usable_device
from autolora_meta.errors import InputError
from autolora_meta.finetuning.batches import LoaderStream
from autolora_meta.finetuning.lora import LoraOptions
from autolora_meta.finetuning.models import head_modules
from autolora_meta.finetuning.prepare import Prepared
from autolora_meta.gating import lora_layers
from autolora_meta.options import read
from autolora_meta.program import Loss, Program, prepare, program_of
from autolora_meta.progress import Progress
from autolora_meta.randomness import derive
from autolora_meta.ranks.importance import Components
from autolora_meta.ranks.rules import RankOptions
from autolora_meta.result import SearchResult


@dataclass(frozen=True)
class Plan:
    """What a run would work on: gated layers, their costs, and what was said while loading."""

    names: tuple[str, ...]
    costs: tuple[int, ...]
    said: tuple[str, ...]


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
    budget: int | str = "uniform:1",
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
        budget: adapter parameters, `uniform:R` or `total-rank:N` (`RankOptions.budget`).
        head: names of modules that are trained in full in the inner problem; by default the head of
            a transformers model, nothing of any other.
        lora: k, scale and dropout (`LoraOptions`).
        options: schedule, optimizers, hypergradient (`SearchOptions`).
        ranks: importance and rule (`RankOptions`).
        seed: of the factors and of the dropout masks.
        selection: learned; or frozen, which leaves all gates at their start: plain LoRA, read out
            the same way.
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
        program = program_of(config, prepared or prepare(config, seed), seed, selection)
        return _run(program, progress=progress, observe=observe)


def check(config: RunConfig) -> "Plan":
    """Everything that can be found wrong before a search: rows, model, layers, gates, budget.

    Raises:
        InputError: the configuration cannot work on this model and data.
    """
    said: list[str] = []
    usable_device(config.runtime.device)  # refused before anything is loaded
    prepared = prepare(config, say=said.append)
    with program_of(config, prepared, config.seed).opened() as (_, gates, costs):
        return Plan(gates.names, costs, tuple(said))


def _search_objects(
    model: nn.Module,
    train: Iterable[Any],
    validation: Iterable[Any],
    *,
    loss: Loss,
    targets: str | Sequence[str] = "all-linear",
    budget: int | str = "uniform:1",
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
    lora_options = read(LoraOptions, {**(lora or {}), "targets": targets}, "lora")
    program = Program(
        model,
        LoaderStream(train, derive(seed, "train order")),
        LoaderStream(validation, derive(seed, "outer order")),
        loss,
        lora_options,
        tuple(head) or (head_modules(model) if isinstance(model, PreTrainedModel) else ()),
        read(SearchOptions, options or {}, "options"),
        read(RankOptions, {**(ranks or {}), "budget": budget}, "ranks"),
        seed,
        usable_device(str(device)),
        selection,
    )
    return _run(program, progress=progress, observe=observe)


def _run(
    program: Program, *, progress: Progress | None, observe: Callable[[Row], None]
) -> SearchResult:
    """Open the program, run its engine, read the components."""
    started = time.perf_counter()
    build = plugins.load(plugins.PROBLEMS, program.options.problem)
    with program.opened() as (wrapped, gates, costs):
        engine = build(
            wrapped,
            gates,
            program.train,
            program.validation,
            program.loss,
            program.options,
            selection=program.selection,
            device=program.device,
            progress=progress,
            observe=observe,
        )
        engine.run()
        with torch.no_grad():
            layers: list[Any] = lora_layers(wrapped, gates.names)
            components = Components.from_factors(
                gates.names,
                costs,
                program.lora.scale,
                gates(),
                [(x.lora_A["default"].weight, x.lora_B["default"].weight) for x in layers],
            )
    return SearchResult(
        components=components,
        trajectory=torch.stack(engine.trajectory),
        rows=engine.rows,
        cost=engine.cost,
        options=program.ranks,
        seconds=time.perf_counter() - started,
        task_type=program.task_type,
        fingerprint=program.fingerprint,
    )
