"""A bilevel problem at one point, where methods and references are evaluated."""

from collections.abc import Callable, Hashable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from autolora_meta.hypergradients.exact import dense_hessian, dense_mixed
from autolora_meta.hypergradients.vectors import Vector, filled, flatten, unflatten

Function = Callable[[Vector], Tensor]
Gradients = tuple[list[Tensor], list[Tensor]]  # a gradient: its part in a, its part in w
# All methods at their defaults, and DARTS by the cheaper difference too.
DEFAULTS: tuple[str | Mapping[str, Any], ...] = (
    "first_order",
    "darts",
    {"method": "darts", "scheme": "forward"},
    "one_step",
    "sama",
    "unrolled",
    "neumann",
    "cg",
    "nystrom",
)

# The methods that solve no system, with options that fit every small problem.
ONE_STEP = (
    "first_order",
    "darts",
    {"method": "darts", "scheme": "forward"},
    "one_step",
    "sama",
    {"method": "unrolled", "steps": 2},
)


@dataclass(frozen=True)
class Case:
    """Losses as functions of the weights, at one (w, a).

    Args:
        problem: its name in a row.
        params: w, leaf tensors at the point.
        hyper: a, leaf tensors; both losses read them where they are.
        inner: g as a function of the weights; the same batch and dropout masks at each call.
        outer: f as a function of the weights; likewise.
        methods: the methods to measure, as a configuration gives them.
        betty: iterations of betty's cg and neumann; 0: without betty.
        damping: of betty's rows, since its methods have none.
        fresh: g with new dropout masks at each call, as betty takes it; None: `inner`.
        training: context of training passes: nothing, or bf16 autocast.
        learning_rate: of the inner step.
        dtype: float64, float32 or bf16 (float32 with training passes under bf16 autocast).
        dropout: of the model.
        condition: of the Hessian, if it was chosen.
        dense: whether H and J fit in memory.
        known: cache of references, by their formula.
        passes: cache of training passes, by place; those in bf16 are slow on many CPUs.
    """

    problem: str
    params: list[Tensor]
    hyper: list[Tensor]
    inner: Function
    outer: Function
    methods: Sequence[str | Mapping[str, Any]] = DEFAULTS
    betty: int = 10
    damping: float = 0.0
    fresh: Function | None = None
    training: Callable[[], AbstractContextManager[Any]] = nullcontext
    learning_rate: float = 0.1
    dtype: str = "float64"
    dropout: float = 0.0
    condition: float | None = None
    dense: bool = True
    known: dict[Hashable, list[Tensor]] = field(default_factory=dict, compare=False)
    passes: dict[Hashable, Gradients] = field(default_factory=dict, compare=False)

    def outer_gradients(self) -> Gradients:
        """Return (f_a, v) at the current values, from one backward in full precision."""
        return self._split(self.outer(self.params))

    def training_pass(self, function: Function, where: Hashable) -> Gradients:
        """Return the gradient in (a, w) of a training pass; computed once for each place.

        Args:
            function: `inner` or `outer`.
            where: name of the current weights.
        """
        key = (function is self.inner, where)
        if key not in self.passes:
            # The backward stands outside autocast, as in training.
            with self.training():
                value = function(self.params)
            self.passes[key] = self._split(value)
        return self.passes[key]

    def _split(self, value: Tensor) -> Gradients:
        wanted = [*self.hyper, *self.params]
        gradients = filled(torch.autograd.grad(value, wanted, allow_unused=True), wanted)
        return gradients[: len(self.hyper)], gradients[len(self.hyper) :]

    @cached_property
    def hessian(self) -> Tensor:
        """H at the point. (p, p)"""
        return dense_hessian(lambda: self.inner(self.params), self.params)

    @cached_property
    def mixed(self) -> Tensor:
        """J at the point. (q, p)"""
        return dense_mixed(lambda: self.inner(self.params), self.params, self.hyper)

    @cached_property
    def exact(self) -> list[Tensor] | None:
        """f_a - J H^-1 v at the point, undamped; None if H does not fit in memory."""
        if not self.dense:
            return None
        f_a, v = self.outer_gradients()
        x = torch.linalg.solve(self.hessian, flatten(v))
        return unflatten(flatten(f_a) - self.mixed @ x, f_a)
