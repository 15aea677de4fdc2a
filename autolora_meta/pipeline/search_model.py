"""Search of a model of your own: module, batches and loss in; importance and ranks out."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel

from autolora_meta.bilevel.feed import Batches
from autolora_meta.bilevel.formulation import formulation
from autolora_meta.bilevel.options import SearchOptions, Selection
from autolora_meta.errors import InputError
from autolora_meta.finetuning.accumulated import PartLoaderStream
from autolora_meta.finetuning.batch_order import Interleaved, LoaderStream
from autolora_meta.finetuning.heads import head_modules
from autolora_meta.finetuning.lora import LoraOptions
from autolora_meta.foundation.checkpoints import Checkpoints, Every
from autolora_meta.foundation.device import usable_device
from autolora_meta.foundation.options import read
from autolora_meta.foundation.parts import Count, in_parts
from autolora_meta.foundation.parts import rows as rows_of
from autolora_meta.foundation.progress import Progress, Row
from autolora_meta.foundation.randomness import derive
from autolora_meta.pipeline.program import Loss, Program, search_seeds
from autolora_meta.pipeline.result import SearchResult
from autolora_meta.pipeline.running import run_programs
from autolora_meta.pipeline.search_together import spectra
from autolora_meta.ranks.options import RankOptions

_EVERY = Every(minutes=5)


def search_model(
    model: nn.Module,
    train: Iterable[Any],
    validation: Iterable[Any],
    *,
    loss: Loss,
    count: Count = rows_of,
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
    checkpoints: str | Path | None = None,
    every: Every = _EVERY,
) -> SearchResult:
    """Learn how much each rank-1 component of a model of your own is worth.

    The model is wrapped for the search and comes back without hooks, its weights unchanged.

    >>> result = search_model(model, train_loader, validation_loader,  # doctest: +SKIP
    ...                       loss=lambda model, batch: model(**batch).loss,
    ...                       targets=["query", "value"], budget="uniform:2")

    Args:
        model: any module with Linear, Conv1D or Conv2d layers.
        train: batches of the inner problem, such as a DataLoader; iterated many times.
        validation: batches of the outer problem, of rows that are not in `train`.
        loss: (model, batch) -> scalar tensor.
        count: batch -> how many its loss is the mean of, where `options={"accumulate": n}` makes
            one step of n batches; by default its rows.
        targets: `all-linear`, PEFT's `default` for the architecture, or names of layers.
        budget: adapter parameters, `uniform:R` or `total-rank:N` (`RankOptions.budget`); None:
            uniform:1, unless the rule in `ranks` has no budget.
        head: names of modules that the inner problem trains in full; by default the head of a
            transformers model, and nothing of any other.
        lora: k, scale and dropout (`LoraOptions`).
        options: schedule, optimizers, hypergradient, number of searches (`SearchOptions`).
        ranks: importance and rule (`RankOptions`).
        seed: of the factors, the order of batches and the dropout masks. With
            `options={"seeds": n}` it is the seed of the first of n searches, which are pooled.
        selection: of the gates: learned; frozen, which leaves them at their start; random, which
            moves them along noise; or plain: frozen, on training and validation batches in turn.
        device: device of the search; the model returns to its own.
        progress: told after each inner step.
        observe: given one row of figures after each outer step; of a search that goes on, the rows
            of before come first.
        checkpoints: a folder where the search is saved, at Ctrl-C and SIGTERM too. A call with the
            same arguments goes on from there, to the same bytes. Remove it once you have the
            result. None: nothing is saved.
        every: how often it is saved.

    Raises:
        InputError: a target is unknown or cannot be gated, the budget is too small, or the search
            cannot go on from the checkpoints.
    """
    if checkpoints is not None:
        _refuse_own_generator(train, validation)
    allocation = {**(ranks or {}), **({} if budget is None else {"budget": budget})}
    lora_options = read(LoraOptions, {**(lora or {}), "targets": targets}, "lora")
    search_options = read(SearchOptions, options or {}, "options")
    kept = RankOptions.kept_under({"budget": "uniform:1"}, allocation)
    rank_options = read(RankOptions, kept | allocation, "ranks")
    if search_options.epochs is not None:
        raise InputError(
            "options.epochs is for rows that a configuration names; batches of your own are "
            "counted in steps: give outer_steps"
        )
    formulation(search_options.problem).refuse(search_options, "ranks")
    search_options = search_options.read_by(rank_options.read_plain)
    trained = tuple(head) or (head_modules(model) if isinstance(model, PreTrainedModel) else ())
    kept = Checkpoints(Path(checkpoints), every) if checkpoints is not None else None

    both, parts = Interleaved([train, validation]), search_options.accumulate

    def stream(batches: Iterable[Any], seed: int) -> Batches:
        whole = LoaderStream(batches, seed)
        return whole if parts == 1 else PartLoaderStream(whole, parts, count)

    def run(
        selection: Selection, plain: SearchResult | None, kept: Checkpoints | None, **more: Any
    ) -> SearchResult:
        rows, seeds = (
            both if selection == "plain" else train,
            search_seeds(seed, search_options.seeds),
        )
        programs = [
            Program(
                model,
                stream(rows, derive(one, "train order")),
                stream(validation, derive(one, "outer order")),
                loss if parts == 1 else in_parts(loss),
                lora_options,
                trained,
                search_options.of(selection),
                rank_options,
                one,
                usable_device(str(device)),
                selection,
                spectrum=spectrum,
            )
            for one, spectrum in zip(seeds, spectra(plain, len(seeds)), strict=True)
        ]
        return run_programs(programs, progress=progress, checkpoints=kept, **more)

    if selection == "plain" or not rank_options.read_plain:
        return run(selection, None, kept, observe=observe)
    plain = run("plain", None, kept and kept.below("plain"), ends=True)
    found = run(selection, plain, kept and kept.below(selection), observe=observe)
    return found.after(plain)


def _refuse_own_generator(*loaders: Any) -> None:
    for loader in loaders:
        drawn = (loader, getattr(loader, "sampler", None))
        if any(getattr(one, "generator", None) is not None for one in drawn):
            raise InputError(
                "a DataLoader with a generator of its own cannot be put back at its place, so the "
                "search could not go on from checkpoints. Make it without `generator`: its order "
                "then follows from `seed`. Or leave `checkpoints` out"
            )
