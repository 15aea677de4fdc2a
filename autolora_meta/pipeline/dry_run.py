"""Dry run: a step of each phase, measured before anything is run or written."""

import time
from contextlib import ExitStack, suppress
from dataclasses import dataclass

import torch

from autolora_meta.bilevel.formulation import formulation
from autolora_meta.config.run import RunConfig
from autolora_meta.finetuning import retrain as stock
from autolora_meta.finetuning.lora import layer_costs
from autolora_meta.finetuning.prepare import Prepared
from autolora_meta.foundation.device import threads
from autolora_meta.foundation.memory import in_use, peak, room
from autolora_meta.foundation.progress import Silent
from autolora_meta.pipeline.epochs import in_steps
from autolora_meta.pipeline.memory import naming_what_to_lower
from autolora_meta.pipeline.prepare import prepare
from autolora_meta.pipeline.program import Program, program_of
from autolora_meta.ranks.pattern import RankPattern

_STEPS = 2  # of a phase: the first makes things ready, the second is measured


@dataclass(frozen=True)
class Phase:
    """One phase of the work, by one step of it.

    Args:
        name: of the phase.
        trained: parameters that it trains.
        steps: that it takes as configured.
        seconds: of a step.
        peak: bytes that the process holds at most in it; None where that is not known.
        rose: of these, above what it held when the step began.
    """

    name: str
    trained: int
    steps: int
    seconds: float
    peak: int | None
    rose: int | None


@dataclass(frozen=True)
class DryRun:
    """What a run would take.

    Args:
        phases: warm-up and outer steps of the search, steps of the retraining.
        device: on which they were measured.
        room: bytes that there are for it; None where that is not known.
        said: sentences about data, model and layers.
    """

    phases: tuple[Phase, ...]
    device: str
    room: int | None
    said: tuple[str, ...]

    @property
    def peak(self) -> int | None:
        """The most that any phase holds; None where that is not known."""
        return max((phase.peak for phase in self.phases if phase.peak is not None), default=None)

    @property
    def fits(self) -> bool:
        """Whether there is room for the largest phase, as far as that is known."""
        return self.peak is None or self.room is None or self.peak <= self.room


def dry_run(config: RunConfig, *, retrains: bool = True) -> DryRun:
    """Take two steps of each phase and measure the second.

    Args:
        config: of the run.
        retrains: measure the retraining, too.

    Raises:
        InputError: the configuration cannot work on this model and data.
        OutOfMemory: memory did not suffice; says what to lower.
    """
    said: list[str] = []
    config, device = config.before_choice, config.runtime.resolved_device
    formulation(config.search.problem).refuse(config.search, "ranks")
    with threads(config.runtime.threads):
        with naming_what_to_lower(config, "search"):
            prepared = prepare(config, say=said.append)
            config = in_steps(config, prepared)
            phases = _searched(program_of(_short(config), prepared, config.seed), config)
        if retrains:
            with naming_what_to_lower(config, "retrain"):
                phases.append(_retrained(config, prepared))
    return DryRun(tuple(phases), device, room(device), tuple(said))


def _short(config: RunConfig) -> RunConfig:
    warmup = min(config.search.warmup_steps, _STEPS)
    less = {"outer_steps": _STEPS, "warmup_steps": warmup, "patience": None, "seeds": 1}
    return config.model_copy(update={"search": config.search.model_copy(update=less)})


def _searched(program: Program, config: RunConfig) -> list[Phase]:
    options, search = program.options, config.search
    build = formulation(options.problem)
    with program.opened() as (wrapped, gates, _):
        clock = _Clock(program.device)
        engine = build(
            wrapped,
            gates,
            program.train,
            program.validation,
            program.loss,
            options,
            device=program.device,
            progress=clock,
        )
        trained = sum(p.numel() for p in engine.inner_problem.parameters())
        engine.run()
    phases = []
    if options.warmup_steps:
        own = clock.steps[options.warmup_steps - 1 :][:1]
        phases.append(_phase("search, inner step", trained, _inner_steps(config), own))
    own = clock.steps[-options.inner_steps :]
    both = trained + gates.logits.numel()
    phases.append(_phase("search, outer step", both, search.seeds * search.outer_steps, own))
    return phases


def _inner_steps(config: RunConfig) -> int:
    """Return the inner steps without an outer one: of the warm-up, and of a plain search."""
    search = config.search
    plain = search.total_inner_steps if config.ranks.read_plain else 0
    return search.seeds * (search.warmup_steps + plain)


def _retrained(config: RunConfig, prepared: Prepared) -> Phase:
    """Measure a retraining at equal ranks, as many parameters as the budget allows."""
    names = program_of(config, prepared, config.seed).targets().names
    costs, k = layer_costs(prepared.model, names), config.lora.k
    rank = k
    if config.ranks.rule == "budget":
        limit, units = config.ranks.budget.limit(costs)
        rank = min(k, max(1, -(-limit // sum(units))))
    pattern = RankPattern(names, (rank,) * len(names), costs, k=k, scale=config.lora.scale)
    options = config.retrain.model_copy(update={"steps": _STEPS})
    clock = _Clock(config.runtime.resolved_device, ends_after=_STEPS)
    with suppress(_Enough):
        stock.retrain(
            prepared,
            pattern,
            options,
            seed=config.seed,
            dropout=config.lora.dropout,
            device=config.runtime.resolved_device,
            progress=clock,
        )
    head = [p for name in prepared.head for p in prepared.model.get_submodule(name).parameters()]
    trained = pattern.parameters + sum(p.numel() for p in head)
    return _phase("retraining, step", trained, config.retrain.steps, clock.steps[-1:])


class _Enough(Exception):
    """Ends a trial."""


@dataclass(frozen=True)
class _Step:
    seconds: float
    peak: int | None
    rose: int | None


class _Clock(Silent):
    """Notes the time and the memory of each step."""

    def __init__(self, device: torch.device | str, ends_after: int | None = None) -> None:
        self.steps: list[_Step] = []
        self._device, self._ends_after = torch.device(device), ends_after
        self._stack, self._rose = ExitStack(), list[int]()
        self._held: int | None = None

    def start(self, label: str, total: float) -> None:
        self._begin()

    def step(self, loss: float | None = None, work: float = 1.0) -> None:
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
        seconds = time.perf_counter() - self._since
        self._stack.close()
        known = self._held is not None and bool(self._rose)
        most = (self._held or 0) + self._rose[0] if known else None
        self.steps.append(_Step(seconds, most, self._rose[0] if known else None))
        if len(self.steps) == self._ends_after:
            raise _Enough
        self._begin()

    def close(self) -> None:
        self._stack.close()

    def _begin(self) -> None:
        self._stack.close()
        self._rose = self._stack.enter_context(peak(self._device))
        self._held = in_use(self._device)
        self._since = time.perf_counter()


def _phase(name: str, trained: int, steps: int, taken: list[_Step]) -> Phase:
    peaks = [step.peak for step in taken if step.peak is not None]
    seconds = sum(step.seconds for step in taken)
    rises = [step.rose for step in taken if step.rose is not None]
    most = max(peaks, default=None), max(rises, default=None)
    return Phase(name, trained, steps, seconds, *most)
