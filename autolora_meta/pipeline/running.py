"""Running programs: one search, or several that are pooled."""

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from autolora_meta.bilevel.course import Course
from autolora_meta.bilevel.feed import to_device
from autolora_meta.bilevel.gating import Gates, lora_factors
from autolora_meta.bilevel.sensitivity import sensitivity
from autolora_meta.finetuning.architectures import model_type
from autolora_meta.finetuning.shared_loss import shared
from autolora_meta.finetuning.start import Start
from autolora_meta.foundation import plugins, processes
from autolora_meta.foundation.checkpoints import Checkpoints
from autolora_meta.foundation.content_hash import content_hash
from autolora_meta.foundation.cost import Cost
from autolora_meta.foundation.progress import Progress, Row, Say, Share, Silent
from autolora_meta.pipeline.going_on import run_from_checkpoint
from autolora_meta.pipeline.program import Program
from autolora_meta.pipeline.result import SearchResult
from autolora_meta.ranks.components import Components
from autolora_meta.ranks.rules import allocate

_LOG = logging.getLogger("autolora_meta")
_APART = (
    "the processes of this search ended with different gates: their devices do not compute alike. "
    "Run it in one process, or on devices of one kind"
)


def run_programs(
    programs: Sequence[Program],
    *,
    progress: Progress | None = None,
    observe: Callable[[Row], None] = lambda row: None,
    checkpoints: Checkpoints | None = None,
    ends: bool = False,
    say: Say = _LOG.info,
) -> SearchResult:
    """Run one search after another and pool them.

    Args:
        programs: at least one; they differ in their seed alone.
        progress: told after each inner step, all searches counted as one work.
        observe: given one row of figures after each outer step; with several searches, `search` in
            the row is the number of the search.
        checkpoints: where they are saved, and go on from.
        ends: save the end, too, since more work follows.
        say: told from where they go on.

    Raises:
        InputError: a checkpoint is of another search.
    """
    progress = progress or Silent()
    if len(programs) == 1:
        alone = programs[0]
        return _run(alone, progress, observe, _Saving(checkpoints, say, ends or _measures(alone)))
    work = programs[0].options.work(programs[0].selection)
    progress.start(f"{len(programs)} searches", len(programs) * work)
    try:
        return SearchResult.pooled(
            [
                _run(
                    program,
                    Share(progress, work),
                    partial(_numbered, observe, index),
                    _Saving(checkpoints and checkpoints.below(str(index)), say, True),
                )
                for index, program in enumerate(programs)
            ]
        )
    finally:
        progress.close()


def _numbered(observe: Callable[[Row], None], index: int, row: Row) -> None:
    observe({"search": index, **row})


class _Saving(NamedTuple):
    """Where one search is saved, who is told, and whether more work follows its end."""

    checkpoints: Checkpoints | None
    say: Say
    ends: bool


def _measures(program: Program) -> bool:
    return program.options.sensitivity_batches > 0


def _run(
    program: Program, progress: Progress, observe: Callable[[Row], None], saving: _Saving
) -> SearchResult:
    """Open the program, run its engine and read the components."""
    started = time.perf_counter()
    program = replace(program, loss=shared(program.loss))
    build = plugins.load(plugins.PROBLEMS, program.options.problem)
    validation_start = program.validation.state_dict()
    with program.opened() as (wrapped, gates, costs):

        def components(effects: Tensor | None = None) -> Components:
            factors, scale = lora_factors(wrapped, gates.names), program.lora.scale
            with torch.no_grad():
                given = gates.names, costs, scale, gates(), factors, effects, program.spectrum
                return Components.from_factors(*given)

        engine = build(
            wrapped,
            gates,
            program.train,
            program.validation,
            program.loss,
            program.options,
            selection=program.formulated,
            device=program.device,
            progress=progress,
            observe=observe,
        )
        followed, latest = program.followed_ranks, list[Components]()

        def allocation() -> Tensor:
            latest[:] = [components()]
            return torch.tensor(allocate(latest[0], followed).ranks)

        def importance() -> Tensor:
            return latest[0].scores(followed.importance).sum(dim=-1).float()

        engine.follow(allocation, importance)
        if (kept := saving.checkpoints) is None:
            engine.run()
        else:
            run_from_checkpoint(engine, program, wrapped, kept, ends=saving.ends, say=saving.say)
        processes.refuse_unlike(content_hash(gates(), engine.inner_problem.parameters()), _APART)
        effects, extra = _effects(program, wrapped, gates, validation_start, progress)
        found = components(effects)
        start = start_of(program, wrapped, gates)
    seconds, cost = time.perf_counter() - started, engine.cost + extra
    return result_of(program, engine.course, found, start, cost, seconds)


def result_of(
    program: Program,
    course: Course,
    components: Components,
    start: Start,
    cost: Cost,
    seconds: float,
) -> SearchResult:
    """Return the result of one search: its course, and what it ended with."""
    return SearchResult(
        components=components,
        start=start,
        trajectory=course.trajectory.stacked(),
        ranks_trajectory=course.ranks.stacked(),
        importance_trajectory=course.importance.stacked(),
        rows=course.rows,
        cost=cost,
        options=program.own_ranks,
        seconds=seconds,
        task_type=program.task_type,
        architecture=model_type(program.model),
        fingerprint=program.fingerprint,
        settled=course.settled,
        blind_loss=program.blind_loss,
    )


def _effects(
    program: Program, wrapped: nn.Module, gates: Gates, start: dict[str, Any], progress: Progress
) -> tuple[Tensor | None, Cost]:
    """Return the effects of leaving components out, or None if they are not asked for; the cost.

    The validation batches are those from `start` on, whatever the search did with them.
    """
    count = program.options.sensitivity_batches
    if not count:
        return None, Cost()
    program.validation.load_state_dict(start)
    batches = [to_device(program.validation.next(), program.device) for _ in range(count)]
    return sensitivity(wrapped, gates, program.loss, batches, progress)


def start_of(program: Program, wrapped: nn.Module, gates: Gates, r: int | None = None) -> Start:
    """Return what a search trained: factors, gates and head.

    Args:
        program: of the search.
        wrapped: its model.
        gates: of its layers.
        r: its number among several; None: it was alone.
    """

    def own(numbers: Tensor) -> Tensor:
        return numbers if r is None else numbers[r]

    moved = {name: own(p) for name, p in wrapped.named_parameters() if p.requires_grad}
    head = {name: p for name, p in moved.items() if "lora_" not in name}
    factors = [(own(a), own(b)) for a, b in lora_factors(wrapped, gates.names)]
    scale = program.lora.scale
    return Start.of(gates.names, own(gates()), factors, head, scale=scale, seed=program.seed)
