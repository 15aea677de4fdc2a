"""SearchEngine: betty's Engine with a schedule, progress, guards, and one state_dict."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any, Literal

import torch
from betty.configs import EngineConfig
from betty.engine import Engine
from betty.logging import get_logger
from torch import Tensor

from autolora_meta.bilevel.gating import Gates
from autolora_meta.bilevel.guards import check_replay, check_second_order, stop_unless_finite_loss
from autolora_meta.bilevel.options import SearchOptions, Selection
from autolora_meta.bilevel.problem import LoraProblem
from autolora_meta.bilevel.watch import Watch
from autolora_meta.foundation.cost import Cost, plain_steps
from autolora_meta.foundation.progress import Progress, Row, Silent
from autolora_meta.foundation.randomness import RandomState

_COURSES = ("trajectory", "ranks_trajectory", "importance_trajectory")
Dependencies = dict[Literal["u2l", "l2u"], dict[LoraProblem, list[LoraProblem]]]


class SearchEngine(Engine):
    """Runs problems that depend on each other, as a formulation ties them.

    Args:
        problems: an inner problem, which trains LoRA factors and head, and an outer one above it,
            which trains the gates; the inner one alone where they are frozen.
        dependencies: betty's: `u2l` from each upper problem to the lower ones it differentiates
            through, `l2u` from each lower problem to the upper ones whose variables its loss holds.
        gates: whose course is kept.
        options: the schedule.
        device: where everything runs.
        progress: told once per inner step.
        observe: told one row of figures after each outer step (each step of a frozen search).

    Attributes:
        inner_problem: the problem at the bottom; its steps are those of the engine.
        outer_problem: the one above it; None where there is none.
        trajectory: the gates at the start and after every outer step, each (L, k).
        ranks_trajectory: the allocation where `follow` began and at every row since, each (L,).
        importance_trajectory: importance at the same times, each (L,); empty if it is not followed.
        rows: the figures so far.
        diagnostics_cost: passes that went into checks, not into the search.
    """

    def __init__(
        self,
        problems: Sequence[LoraProblem],
        dependencies: Dependencies,
        *,
        gates: Gates,
        options: SearchOptions,
        device: torch.device | str = "cpu",
        progress: Progress | None = None,
        observe: Callable[[Row], None] = lambda row: None,
    ) -> None:
        get_logger().setLevel(logging.WARNING)
        self.gates, self.options, self.observe = gates, options, observe
        self.progress = progress or Silent()
        self.rows: list[Row] = []
        self.trajectory: list[Tensor] = [gates().detach().cpu().clone()]
        self.ranks_trajectory: list[Tensor] = []
        self.importance_trajectory: list[Tensor] = []
        self._allocation: Callable[[], Tensor] | None = None
        self._importance: Callable[[], Tensor] | None = None
        self.diagnostics_cost = Cost()
        self._watch = Watch(options.gates.constraint, options.outer.learning_rate)
        self._asked_device = torch.device(device)
        roll_back = options.schedule == "look_ahead"
        super().__init__(
            problems=list(problems),
            config=EngineConfig(train_iters=options.total_inner_steps, roll_back=roll_back),
            dependencies=dependencies,
        )
        self.inner_problem: LoraProblem = self.leaves[0]
        above = dependencies["l2u"].get(self.inner_problem)
        self.outer_problem: LoraProblem | None = above[0] if above else None

    def configure_systems(self) -> dict[str, Any]:
        """betty takes CUDA wherever there is one; here the run's device counts."""
        systems = super().configure_systems()
        self.device = self._asked_device
        return systems

    def run(self, between: Callable[[], None] = lambda: None) -> None:
        """Take the inner steps that are left, until the allocation has settled.

        Args:
            between: called between two outer steps, and between two steps of a warm-up: where
                `state_dict` holds all that the search needs to go on.

        Raises:
            InputError: the base cannot carry the hypergradient method.
            NotFinite: a loss or a part of the hypergradient is no number. `trajectory` and `rows`
                hold what was good.
        """
        self.train()
        if self.outer_problem is not None and self.global_step == 0:
            hyper = self.outer_problem.parameters()
            self.diagnostics_cost += check_replay(self.inner_problem)
            self.diagnostics_cost += check_second_order(self.inner_problem, hyper)
        work = self.options.work(self._selection)
        self.progress.start("search", work - plain_steps(self.cost))
        try:
            while self.global_step < self.train_iters and not self.settled:
                done = plain_steps(self.cost)
                self.global_step += 1
                self.train_step()
                stop_unless_finite_loss(self.inner_problem)
                if self.outer_problem is None or self.inner_problem.outer_is_due:
                    self._record()
                self.progress.step(self.inner_problem.loss, plain_steps(self.cost) - done)
                if self.inner_problem.begins_anew:
                    between()
        finally:
            self.progress.close()

    @property
    def _selection(self) -> Selection:
        if self.outer_problem is None:
            return "frozen"
        return "random" if self.inner_problem.hypergradient is None else "learned"

    @property
    def cost(self) -> Cost:
        """All passes so far, of both problems and of the hypergradients."""
        return sum((problem.cost for problem in self.problems), Cost())

    def follow(
        self, allocation: Callable[[], Tensor], importance: Callable[[], Tensor] | None = None
    ) -> None:
        """Measure the allocation now and at every row from here on; `patience` reads it.

        Args:
            allocation: the ranks that follow from factors and gates as they are; integers, (L,).
            importance: of each layer at the latest allocation. (L,)
        """
        self._allocation, self._importance = allocation, importance
        if not self.ranks_trajectory:
            self._look_at_ranks()

    def _look_at_ranks(self) -> None:
        if self._allocation is not None:
            self.ranks_trajectory.append(self._allocation())
        if self._importance is not None:
            self.importance_trajectory.append(self._importance())

    @property
    def settled(self) -> bool:
        """The allocation has stood still for as many outer steps as `patience` says."""
        if self.options.patience is None:
            return False
        a_step = self.options.inner_steps if self.outer_problem is None else 1
        last = self.rows[-self.options.patience * a_step :]
        return (
            len(last) == self.options.patience * a_step
            and last[0]["step"] > self.options.warmup_steps
            and all(row.get("ranks_moved") == 0 for row in last)
        )

    def _record(self) -> None:
        inner, outer = self.inner_problem, self.outer_problem
        row: Row = {"step": self.global_step, "inner_loss": inner.loss}
        if outer is not None:
            self.trajectory.append(self.gates().detach().cpu().clone())
            row |= {"outer_step": len(self.trajectory) - 1, "gate_entropy": self.gates.entropy()}
            if outer.record is not None:
                row |= {"outer_loss": outer.loss, **outer.record.figures()}
                if outer.record.examined is not None:
                    self.diagnostics_cost += outer.record.examined.cost
            self._watch.look(row, self.trajectory)
        if self._allocation is not None:
            self._look_at_ranks()
            before, now = self.ranks_trajectory[-2:]
            # (1/2) sum_l |r_l(t) - r_l(t-1)|: a rank that goes from one layer to another counts 1
            row["ranks_moved"] = float((now - before).abs().sum()) / 2
        self.rows.append(row)
        self.observe(row)

    def state_dict(self) -> dict[str, Any]:
        """All that the search needs to go on, taken between two outer steps (`run`)."""
        return {
            "global_step": self.global_step,
            "problems": {problem.name: problem.state_dict() for problem in self.problems},
            "random": RandomState.snapshot().state_dict(),
            **{name: _stacked(getattr(self, name)) for name in _COURSES},
            "rows": [dict(row) for row in self.rows],
            "diagnostics_cost": asdict(self.diagnostics_cost),
            "watch": self._watch.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from what `state_dict` returned; the rest of the run gives the same bytes."""
        self.global_step = state["global_step"]
        for problem in self.problems:
            problem.load_state_dict(state["problems"][problem.name])
        for name in _COURSES:
            setattr(self, name, [*state[name]])
        self.rows = [dict(row) for row in state["rows"]]
        self.diagnostics_cost = Cost(**state["diagnostics_cost"])
        self._watch.load_state_dict(state["watch"])
        RandomState.of(state["random"]).restore()


def _stacked(course: list[Tensor]) -> Tensor | list[Tensor]:
    """Return a course as one tensor: a file holds one faster than thousands."""
    return torch.stack(course) if course else []
