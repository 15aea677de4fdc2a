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

from autolora_meta.bilevel.course import Course
from autolora_meta.bilevel.guards import check_replay, check_second_order, stop_unless_finite_loss
from autolora_meta.bilevel.options import SearchOptions, Selection
from autolora_meta.bilevel.outer_variables import OuterVariables
from autolora_meta.bilevel.problem import LoraProblem
from autolora_meta.bilevel.watch import Watch
from autolora_meta.errors import NotFinite
from autolora_meta.foundation.cost import Cost, plain_steps
from autolora_meta.foundation.progress import Progress, Row, Silent
from autolora_meta.foundation.randomness import RandomState

Dependencies = dict[Literal["u2l", "l2u"], dict[LoraProblem, list[LoraProblem]]]


class SearchEngine(Engine):
    """Runs problems that depend on each other, as a formulation ties them.

    Args:
        problems: an inner problem, which trains LoRA factors and head, and an outer one above it,
            which trains the gates; the inner one alone where they are frozen.
        dependencies: betty's: `u2l` from each upper problem to the lower ones it differentiates
            through, `l2u` from each lower problem to the upper ones whose variables its loss holds.
        gates: the outer variables, whose course is kept; of one search, or of several that share
            all passes.
        options: the schedule.
        device: where everything runs.
        progress: told once per inner step, with the plain steps of all searches.
        observe: told one row of figures after each outer step (each step of a frozen search); of
            several searches with the number of the search, as `search`.

    Attributes:
        inner_problem: the problem at the bottom; its steps are those of the engine.
        outer_problem: the one above it; None where there is none.
        courses: what each search leaves behind.
        diagnostics_cost: passes that went into checks, not into the search.
    """

    def __init__(
        self,
        problems: Sequence[LoraProblem],
        dependencies: Dependencies,
        *,
        gates: OuterVariables,
        options: SearchOptions,
        device: torch.device | str = "cpu",
        progress: Progress | None = None,
        observe: Callable[[Row], None] = lambda row: None,
    ) -> None:
        get_logger().setLevel(logging.WARNING)
        self.gates, self.options, self.observe = gates, options, observe
        self.progress = progress or Silent()
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
        a_step = 1 if above else options.inner_steps
        self.courses = [Course(start, options, a_step) for start in self._gates_now()]
        self._held: list[tuple[Tensor, Tensor]] = []

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
            NotFinite: a loss or a part of the hypergradient is no number, in the only search;
                among several `inner_problem.lost` says it. `courses` hold what was good.
        """
        self.train()
        if self.outer_problem is not None and self.global_step == 0:
            hyper = self.outer_problem.parameters()
            self.diagnostics_cost += check_replay(self.inner_problem)
            self.diagnostics_cost += check_second_order(self.inner_problem, hyper)
        work, each = self.options.work(self._selection), self.inner_problem.members or 1
        self.progress.start("search", each * (work - plain_steps(self.cost)))
        try:
            while self.global_step < self.train_iters and not self.ended:
                done = plain_steps(self.cost)
                self.global_step += 1
                self.train_step()
                stop_unless_finite_loss(self.inner_problem)
                self._put_back()
                if self.outer_problem is None or self.inner_problem.outer_is_due:
                    self._record()
                spent = each * (plain_steps(self.cost) - done)
                self.progress.step(self.inner_problem.loss, spent)
                if self.inner_problem.begins_anew:
                    between()
        finally:
            self.progress.close()

    @property
    def course(self) -> Course:
        """Of the only search, or the first."""
        return self.courses[0]

    @property
    def ended(self) -> bool:
        """Every search has settled, or is no longer finite."""
        lost = self.inner_problem.lost
        return all(r in lost or course.settled for r, course in enumerate(self.courses))

    def _hold(self, r: int) -> None:
        """Remember the numbers of a search that has settled, while others in its passes go on."""
        own = [p.data[r] for problem in self.problems for p in problem.parameters()]
        self._held += [(numbers, numbers.clone()) for numbers in own]

    def _put_back(self) -> None:
        for numbers, kept in self._held:
            numbers.copy_(kept)

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
            allocation: the ranks that follow from factors and gates as they are; integers, (L,),
                of several searches (R, L).
            importance: of each layer at the latest allocation, in the same shape.
        """
        self._allocation, self._importance = allocation, importance
        if not self.courses[0].ranks:
            for course, look in zip(self.courses, self._looks(), strict=True):
                course.look(*look)

    def _looks(self) -> list[tuple[Tensor | None, Tensor | None]]:
        """Return allocation and importance of each search now; None where it is not followed."""
        looked = [look and look() for look in (self._allocation, self._importance)]
        if self.inner_problem.members is None:
            looked = [None if each is None else each[None] for each in looked]
        none = [None] * len(self.courses)
        ranks, importance = (none if each is None else [*each.unbind()] for each in looked)
        return list(zip(ranks, importance, strict=True))

    def _gates_now(self) -> list[Tensor]:
        """Return a copy of the gates of each search, on the CPU. (L, k)"""
        now = self.gates().detach().cpu().clone()
        return [now] if self.inner_problem.members is None else [*now.unbind()]

    def _record(self) -> None:
        inner, outer = self.inner_problem, self.outer_problem
        entropies, gates, looks = self.gates.entropies(), self._gates_now(), self._looks()
        for r, course in enumerate(self.courses):
            if course.cost is not None or r in inner.lost:
                continue
            row: Row = {"step": self.global_step, "inner_loss": inner.losses[r]}
            if outer is not None:
                course.trajectory.append(gates[r])
                row |= {"outer_step": len(course.trajectory) - 1, "gate_entropy": entropies[r]}
                if outer.records:
                    row |= {"outer_loss": outer.losses[r], **outer.records[r].figures()}
                self._watch.look(row, course.trajectory)
            course.look(*looks[r])
            course.add(row)
            self._tell(r, row)
            if course.settled:
                course.cost = self.cost
                if inner.members is not None:
                    self._hold(r)
        if outer is not None and outer.records and (examined := outer.records[0].examined):
            self.diagnostics_cost += examined.cost

    def _tell(self, r: int, row: Row) -> None:
        self.observe(row if self.inner_problem.members is None else {"search": r, **row})

    def observe_again(self) -> None:
        """Tell all rows so far, when a search goes on elsewhere."""
        for r, course in enumerate(self.courses):
            for row in course.rows:
                self._tell(r, row)

    def state_dict(self) -> dict[str, Any]:
        """All that the search needs to go on, taken between two outer steps (`run`)."""
        return {
            "global_step": self.global_step,
            "problems": {problem.name: problem.state_dict() for problem in self.problems},
            "random": RandomState.snapshot().state_dict(),
            "courses": [course.state_dict() for course in self.courses],
            "lost": [[r, str(error)] for r, error in self.inner_problem.lost.items()],
            "diagnostics_cost": asdict(self.diagnostics_cost),
            "watch": self._watch.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from what `state_dict` returned; the rest of the run gives the same bytes."""
        self.global_step = state["global_step"]
        for problem in self.problems:
            problem.load_state_dict(state["problems"][problem.name])
        self.inner_problem.lost = {int(r): NotFinite(said) for r, said in state["lost"]}
        for course, held in zip(self.courses, state["courses"], strict=True):
            course.load_state_dict(held)
        if self.inner_problem.members is not None:
            for r, course in enumerate(self.courses):
                if course.cost is not None:
                    self._hold(r)
        self.diagnostics_cost = Cost(**state["diagnostics_cost"])
        self._watch.load_state_dict(state["watch"])
        RandomState.of(state["random"]).restore()
