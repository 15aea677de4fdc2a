"""Searches that share every pass: one for each replicate, or for each seed of one."""

import inspect
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch
from peft import PeftModel
from torch import Tensor, nn

from autolora_meta.bilevel.feed import to_device
from autolora_meta.bilevel.gating import Gates, lora_factors
from autolora_meta.bilevel.options import SearchOptions, Selection
from autolora_meta.errors import Apart, NotFinite
from autolora_meta.finetuning.batch_order import BatchStream, JoinedStream
from autolora_meta.finetuning.lora import unwrapped_afterwards, wrap_for_search
from autolora_meta.finetuning.stacked import Stack, State, adapter_state, stacked
from autolora_meta.finetuning.stacked_rows import refuse_mixed_rows
from autolora_meta.finetuning.start import Start
from autolora_meta.finetuning.staying import stays
from autolora_meta.foundation import plugins
from autolora_meta.foundation.checkpoints import Checkpoints
from autolora_meta.foundation.content_hash import content_hash
from autolora_meta.foundation.progress import Progress, Row, Say, Silent
from autolora_meta.foundation.randomness import derive, seeded
from autolora_meta.pipeline.going_on import run_from_checkpoint
from autolora_meta.pipeline.program import Program
from autolora_meta.pipeline.result import SearchResult
from autolora_meta.pipeline.running import result_of, run_programs, start_of
from autolora_meta.ranks.components import Components
from autolora_meta.ranks.rules import allocate

_LOG = logging.getLogger("autolora_meta")
# Methods whose steps and products are of each search alone; the others measure lengths to stop by.
METHODS = ("first_order", "darts", "one_step", "sama")


def why_apart(options: SearchOptions, selection: Selection) -> str | None:
    """Return why searches with these options cannot share a pass; None if they may."""
    if options.saves_memory:
        return "accumulate and gradient_checkpointing save memory that several at once would take"
    method = options.hypergradient.method
    build = plugins.load(plugins.PROBLEMS, options.problem)
    if selection == "learned" and method not in METHODS:
        return f"{method} solves a system for each search; {', '.join(METHODS)} share a pass"
    if "seeds" not in inspect.signature(build).parameters:
        return f"the problem {options.problem} takes one search"
    if options.sensitivity_batches:
        return "sensitivity is measured one component at a time (search.sensitivity_batches)"
    return None


def refuse_apart(programs: Sequence[Program]) -> None:
    """Refuse searches that one pass cannot serve.

    Raises:
        Apart: they differ in more than seed, rows and the way in which ranks are read, or the
            method, the formulation, or sensitivity cannot be had for several at once.
    """
    first = programs[0]
    what = why_apart(first.options, first.selection)
    if what is None and any(_shared(program) != _shared(first) for program in programs):
        what = "they differ in more than their seeds and rows"
    if what is None and stays(first.model):
        what = "a quantised base, or one with a device_map, stays as it was loaded"
    if what is None and not all(isinstance(p.train, BatchStream) for p in programs):
        what = "their batches come from loaders of their own"
    if what is not None:
        raise Apart(f"these searches cannot share their passes: {what}; search one at a time")


def run_together(
    programs: Sequence[Program],
    *,
    progress: Progress | None = None,
    observe: Callable[[Row], None] = lambda row: None,
    checkpoints: Checkpoints | None = None,
    say: Say = _LOG.info,
) -> list[SearchResult | NotFinite]:
    """Run several searches in one pass over the base that they share.

    Each has the factors, head, order of rows and validation rows of its own search. Without dropout
    it ends where that ends, to rounding; dropout masks are drawn for all of them together.

    Args:
        programs: they differ in seed, rows, and how ranks are read. One runs as it does alone.
        progress: told after each inner step of all.
        observe: given one row of figures after each outer step of each search; `search` in it is
            the number of the program.
        checkpoints: where all are saved, and go on from.
        say: told from where they go on.

    Returns:
        The result of each, or why it has none: something in it is no longer a number.

    Raises:
        Apart: the searches or the model cannot be had in one pass.
    """
    if len(programs) == 1:
        alone = {"observe": lambda row: observe({"search": 0, **row}), "say": say}
        try:
            return [run_programs(programs, progress=progress, checkpoints=checkpoints, **alone)]
        except NotFinite as error:
            return [error]
    refuse_apart(programs)
    started = time.perf_counter()
    first, build = programs[0], plugins.load(plugins.PROBLEMS, programs[0].options.problem)
    with _opened(programs) as (wrapped, stack, gates, costs):
        engine = build(
            wrapped,
            gates,
            JoinedStream([program.train for program in programs]),
            JoinedStream([program.validation for program in programs]),
            lambda model, batch: stack.losses(first.loss, batch),
            first.options,
            selection=first.formulated,
            device=first.device,
            progress=progress or Silent(),
            observe=observe,
            seeds=[derive(program.seed, "search") for program in programs],
        )
        reader = _Reader(programs, wrapped, gates, costs)
        engine.follow(reader.allocations, reader.importance)
        if checkpoints is None:
            engine.run()
        else:
            known = replace(first, fingerprint=_fingerprint(programs))
            run_from_checkpoint(engine, known, wrapped, checkpoints, ends=True, say=say)
        ends = [engine.inner_problem.lost.get(r) or reader.ended(r) for r in range(len(programs))]
    seconds = (time.perf_counter() - started) / len(programs)

    def result(r: int, end: tuple[Components, Start] | NotFinite) -> SearchResult | NotFinite:
        if isinstance(end, NotFinite):
            return end
        course = engine.courses[r]
        return result_of(programs[r], course, *end, course.cost or engine.cost, seconds)

    return [result(r, end) for r, end in enumerate(ends)]


class _Reader:
    """Reads the components of each search from the numbers of all."""

    def __init__(
        self, programs: Sequence[Program], wrapped: nn.Module, gates: Gates, costs: tuple[int, ...]
    ) -> None:
        self.programs, self.wrapped, self.gates, self._costs = programs, wrapped, gates, costs
        self._scale = programs[0].lora.scale
        self._latest: list[Components] = []

    def allocations(self) -> Tensor:
        """Return the ranks of each search as they are now. (R, L)"""
        names = self.gates.names
        factors = lora_factors(self.wrapped, names)
        given = names, self._costs, self._scale, self.gates(), factors
        self._latest = [
            replace(own, spectrum=program.spectrum)
            for own, program in zip(Components.of_several(*given), self.programs, strict=True)
        ]
        each = zip(self._latest, self.programs, strict=True)
        return torch.tensor([allocate(own, program.followed_ranks).ranks for own, program in each])

    def importance(self) -> Tensor:
        """Return the importance of each layer at the latest allocation. (R, L)"""
        each = zip(self._latest, self.programs, strict=True)
        scores = [own.scores(program.followed_ranks.importance) for own, program in each]
        return torch.stack(scores).sum(dim=-1).float()

    def ended(self, r: int) -> tuple[Components, Start] | NotFinite:
        """Return what a search ended with, or that it is no longer finite."""
        names = self.gates.names
        factors = [(a[r], b[r]) for a, b in lora_factors(self.wrapped, names)]
        try:
            with torch.no_grad():
                own = self.gates()[r], factors, None, self.programs[r].spectrum
                found = Components.from_factors(names, self._costs, self._scale, *own)
                return found, start_of(self.programs[r], self.wrapped, self.gates, r)
        except NotFinite as error:
            return error


@contextmanager
def _opened(
    programs: Sequence[Program],
) -> Iterator[tuple[PeftModel, Stack, Gates, tuple[int, ...]]]:
    """Yield the model of the first program with the adapters of all, and their gates."""
    first, names = programs[0], programs[0].targets().names
    states = [_state(program, names) for program in programs]
    with first.opened() as (wrapped, gates, costs):
        seed = derive(first.seed, "stack", *(program.seed for program in programs))
        with seeded(seed), stacked(wrapped, states) as stack:
            gates.several(len(programs))
            _refuse_mixed(stack, programs)
            yield wrapped, stack, gates, costs


def _state(program: Program, names: Sequence[str]) -> State:
    """Return the factors and the head that a search starts from."""
    with unwrapped_afterwards(program.model):
        seed = derive(program.seed, "factors")
        return adapter_state(
            wrap_for_search(program.model, names, program.lora, seed, head=program.head)
        )


def _refuse_mixed(stack: Stack, programs: Sequence[Program]) -> None:
    """Refuse a model in which rows of one search change the loss of another."""
    train = JoinedStream([program.train for program in programs])
    place, now = train.state_dict(), train.peek_rows()
    train.skip()
    both = to_device(train.collate(now + train.peek_rows()), programs[0].device)
    train.load_state_dict(place)
    halves = ({name: rows.chunk(2)[half] for name, rows in both.items()} for half in (0, 1))
    refuse_mixed_rows(stack, programs[0].loss, *halves)


def _shared(program: Program) -> Any:
    return program.options, program.lora, program.head, program.selection, str(program.device)


def _fingerprint(programs: Sequence[Program]) -> str:
    """Return a hash by which searches know their checkpoints."""
    return content_hash([(program.fingerprint, program.seed) for program in programs])
