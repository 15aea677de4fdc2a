"""A formulation of one's own held against what every formulation has to do, on a tiny model."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from autolora_meta.bilevel.engine import SearchEngine
from autolora_meta.bilevel.options import SearchOptions
from autolora_meta.bilevel.problem import LoraProblem
from autolora_meta.foundation.randomness import RandomState, replay
from autolora_meta.hypergradients.vectors import assign, flatten

ETA, WIDTH = 0.1, 1e-5  # of the inner step; of the differences, in float64
# How far a method may be from the differences: those by differences of gradients are less exact.
BOUNDS = {"one_step": 1e-6, "unrolled": 1e-6, "darts": 1e-5}

Open = Callable[[SearchOptions], AbstractContextManager[SearchEngine]]


@dataclass(frozen=True)
class FormulationReport:
    """What a formulation did.

    Args:
        errors: method -> relative error of its hypergradient.
        restored: inner weights after an outer step are those that inner steps alone give.
        counted: the cost of a search is the number of losses that it took.
        resumed: a search that goes on from its state ends at the same bytes.
    """

    errors: Mapping[str, float]
    restored: bool
    counted: bool
    resumed: bool

    @property
    def faults(self) -> list[str]:
        """Return a sentence about each thing that is wrong; empty if the formulation is sound."""
        found = [
            f"the hypergradient of {method} is {error:.1e} from differences of the outer loss, at "
            f"most {BOUNDS[method]:g} is sound: a loss depends on more than weights, outer "
            "variables and its batch, or a part of it is detached"
            for method, error in self.errors.items()
            if not error <= BOUNDS[method]
        ]
        if not self.restored:
            found.append("an outer step left other inner weights than the inner steps alone do")
        if not self.counted:
            found.append("the cost of the search is not the number of losses that it took")
        if not self.resumed:
            found.append("a search that went on from its state ended elsewhere")
        return found


def verify_formulation(open_engine: Open) -> FormulationReport:
    """Hold a formulation against differences of its own outer loss, and try what a search needs.

    >>> with_faults = verify_formulation(opened).faults  # doctest: +SKIP

    Args:
        open_engine: takes options and gives an engine in the body of a `with`, anew at each call:
            the same tiny model in float64, the same outer variables and batches. The outer
            variables must not be where their derivative is 0.

    Example:
        tests/bilevel/test_reweighting.py, and docs/problems.md.
    """
    exact = _by_differences(open_engine)
    return FormulationReport(
        {method: _error(_step(open_engine, method), exact) for method in BOUNDS},
        _restored(open_engine),
        all(_counted(open_engine, method) for method in BOUNDS if method != "unrolled"),
        _resumed(open_engine),
    )


def _options(method: str, **others: Any) -> SearchOptions:
    usual = {
        "hypergradient": {"method": method, "weight": 1},
        "inner": {"name": "sgd", "learning_rate": ETA},
        "outer": {"name": "sgd", "learning_rate": 1.0},  # moves by minus the hypergradient
        "outer_steps": 1,
        "warmup_steps": 0,
    }
    return SearchOptions.model_validate(usual | others)


def _outer(engine: SearchEngine) -> LoraProblem:
    assert engine.outer_problem is not None, "the engine has no outer problem"
    return engine.outer_problem


def _error(found: Tensor, exact: Tensor) -> float:
    return float((found - exact).norm() / exact.norm())


def _step(open_engine: Open, method: str) -> Tensor:
    with open_engine(_options(method)) as engine:
        before = flatten(_outer(engine).parameters()).detach().clone()
        engine.run()
        return before - flatten(_outer(engine).parameters()).detach()


def _by_differences(open_engine: Open) -> Tensor:
    """(f(w'(a + h e), a + h e) - f(w'(a - h e), a - h e)) / 2h for each outer variable."""
    with open_engine(_options("first_order")) as engine:
        engine.train()
        inner, outer, state = engine.inner_problem, _outer(engine), RandomState.snapshot()
        train, held = inner.get_batch(), outer.get_batch()
        start = [w.detach().clone() for w in inner.parameters()]

        def ahead() -> float:
            with replay(state):
                _descend(inner, train)
                with torch.no_grad():
                    found = float(outer.training_step(held))
            assign(inner.parameters(), start)
            return found

        slopes = []
        for variable in outer.parameters():
            flat = variable.data.view(-1)
            for i in range(len(flat)):
                at = float(flat[i])
                ends = []
                for side in (WIDTH, -WIDTH):
                    flat[i] = at + side
                    ends.append(ahead())
                flat[i] = at
                slopes.append((ends[0] - ends[1]) / (2 * WIDTH))
    return torch.tensor(slopes, dtype=torch.float64)


def _descend(inner: LoraProblem, batch: Any) -> None:
    """w <- w - eta g_w"""
    w = list(inner.parameters())
    g = torch.autograd.grad(
        inner.training_step(batch), w, materialize_grads=True, allow_unused=True
    )
    assign(w, [a.detach() - ETA * b for a, b in zip(w, g, strict=True)])


def _restored(open_engine: Open) -> bool:
    still = {"outer": {"name": "sgd", "learning_rate": 1e-30}, "inner_steps": 2}
    with open_engine(_options("darts", **still)) as engine:
        inner, state = engine.inner_problem, RandomState.snapshot()
        place = inner.batches.state_dict()
        start = [w.detach().clone() for w in inner.parameters()]
        engine.run()
        searched = flatten(inner.parameters()).detach().clone()
        assign(inner.parameters(), start)
        inner.batches.load_state_dict(place)
        with replay(state):
            for _ in range(2):
                _descend(inner, inner.get_batch())
        return torch.allclose(flatten(inner.parameters()), searched, rtol=1e-9, atol=1e-12)


def _counted(open_engine: Open, method: str) -> bool:
    taken = 0
    with open_engine(_options(method)) as engine:
        for problem in (engine.inner_problem, _outer(engine)):
            loss = problem.training_step

            def counted(batch: Any, loss: Callable[[Any], Any] = loss) -> Any:
                nonlocal taken
                taken += 1
                return loss(batch)

            problem.training_step = counted  # type: ignore[method-assign]
        engine.run()
        return taken == engine.cost.forwards + engine.diagnostics_cost.forwards


class _Stopped(Exception):
    """A search was left between two steps."""


def _resumed(open_engine: Open) -> bool:
    options, states = _options("darts", outer_steps=4), list[dict[str, Any]]()

    def end(engine: SearchEngine) -> Tensor:
        problems = engine.inner_problem, _outer(engine)
        return torch.cat([flatten(one.parameters()).detach() for one in problems])

    with open_engine(options) as engine:
        engine.run()
        whole = end(engine)
    with open_engine(options) as engine:

        def leave() -> None:
            if engine.global_step == 2:
                states.append(engine.state_dict())
                raise _Stopped

        with suppress(_Stopped):
            engine.run(leave)
    with open_engine(options) as engine:
        engine.load_state_dict(states[0])
        engine.run()
        return torch.equal(end(engine), whole)
