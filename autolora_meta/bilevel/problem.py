"""LoraProblem: betty's ImplicitProblem made right for a frozen base.

betty carries the program (which problem steps when, and through which path a hypergradient flows).
The overrides answer faults of its release 0.2.1, each named where it is answered.
"""

import copy
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import asdict
from typing import Any

import torch
from betty.configs import Config
from betty.problems import ImplicitProblem
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from autolora_meta.bilevel.base import coarse_dtype
from autolora_meta.bilevel.feed import Batches, to_device
from autolora_meta.bilevel.hypergradient import HypergradientRecord, hypergradient
from autolora_meta.bilevel.implicit_part import register
from autolora_meta.bilevel.inner import InnerLoop, InnerStep
from autolora_meta.bilevel.passes import Passes, replayed
from autolora_meta.bilevel.states import States, restored
from autolora_meta.errors import NotFinite
from autolora_meta.foundation.cost import Cost
from autolora_meta.foundation.parts import each, weighted
from autolora_meta.foundation.processes import summed
from autolora_meta.foundation.randomness import RandomState, replay
from autolora_meta.hypergradients.choice import HypergradientOptions
from autolora_meta.hypergradients.vectors import Loss, assign, gradients


class LoraProblem(ImplicitProblem):
    """One level of a bilevel program whose trainable state is a few tensors in a large module.

    A subclass gives `training_step(batch) -> loss`, as in betty. The engine sets each problem as an
    attribute of the others, under its name.

    Args:
        name: how the other problem and the engine call this one.
        module: holds the parameters; those that require gradients are trained.
        optimizer: over exactly those; kept as given, with its groups.
        batches: endless batches, whose place can be saved.
        hypergradient: of an inner problem: how the outer one differentiates through it.
        inner_steps: of an inner problem: its steps per outer step.
        warmup_steps: of an inner problem: its steps before the first outer step.
        diagnostics_every: of an inner problem: outer steps from one examined hypergradient to the
            next (`bilevel.diagnostics`); 0: none.
        autocast: training passes under bfloat16 autocast; hypergradient passes stay float32.
        members: searches in one pass, whose numbers the parameters hold on a leading axis, and
            whose losses `training_step` returns, (R,); None: one search alone, a scalar.

    Attributes:
        cost: passes so far, of each search.
        records: of an outer problem: of its last hypergradient, one for each search.
        lost: of an inner problem: number of a search among others -> what is not finite in it.
        loop: of an inner problem: what its steps since the last outer step left behind.
        precision: dtype of the base, where it is below float32.
    """

    def __init__(
        self,
        name: str,
        *,
        module: nn.Module,
        optimizer: torch.optim.Optimizer,
        batches: Batches,
        hypergradient: HypergradientOptions | None = None,
        inner_steps: int = 1,
        warmup_steps: int = 0,
        diagnostics_every: int = 0,
        autocast: bool = False,
        members: int | None = None,
    ) -> None:
        config = Config(type=register(), unroll_steps=inner_steps, warmup_steps=warmup_steps)
        super().__init__(name, config, module=module, optimizer=optimizer)
        self.batches = batches
        self.hypergradient = hypergradient
        self.diagnostics_every = diagnostics_every
        self.autocast = autocast
        self.cost = Cost()
        self.members = members
        self._losses = torch.full((members or 1,), math.nan)
        self._read: list[float] | None = None
        self.records: list[HypergradientRecord] = []
        self.lost: dict[int, NotFinite] = {}
        self.loop = InnerLoop(self.hypergradient)
        self.precision = coarse_dtype(module)
        self._cached: States | None = None
        self._trainable = [p for p in module.parameters() if p.requires_grad]

    # -- parameters: betty returns the frozen base too ------------------------------------------

    def parameters(self) -> list[nn.Parameter]:
        return self._trainable

    def trainable_parameters(self) -> list[nn.Parameter]:
        return self._trainable

    # -- set-up: betty rebuilds the optimizer from its defaults and loses its groups -------------

    def patch_optimizer(self) -> None:
        """Keep the optimizer as given."""

    # -- batches: betty takes a BatchEncoding for a sequence of its keys -------------------------

    def get_batch(self) -> Any:
        """Return the next batch, on this problem's device."""
        return to_device(self.batches.next(), self.device)

    # -- passes: betty knows autocast on CUDA only, and losses of one number ---------------------

    def get_loss(self, batch: Any) -> tuple[Passes, dict[str, Any]]:
        """Return the loss of a training pass, and the same for reading once it was taken."""
        passes = Passes(self.training_step_exec(batch))
        return passes, {"loss": passes}

    def training_step_exec(self, batch: Any) -> Iterator[Tensor]:
        """Take one counted training pass, part by part, under autocast where that is asked for."""
        self.cost += Cost(forwards=1)
        for weight, part in each(batch):
            yield weighted(weight, self._training_pass(part))

    def _training_pass(self, batch: Any) -> Tensor:
        method = self.hypergradient
        # Double backward needs torch's math attention, which draws dropout masks of its own: the
        # step that is differentiated has to see the same ones.
        exact = method is not None and method.record.needs_double_backward
        attention = sdpa_kernel(SDPBackend.MATH) if exact else nullcontext()
        with attention, torch.autocast(self._device_type, torch.bfloat16, enabled=self.autocast):
            return self.training_step(batch)

    def replayed_loss(self, step: InnerStep | None = None) -> Loss:
        """Return the loss of an inner step (the last one) at the weights as they are now.

        Of several searches it is the sum of their losses: no loss depends on another's numbers. Of
        a batch in parts it is theirs, made one by one.
        Calling it twice evaluates the same function twice: the same batch and masks, in float32
        (docs/architecture.md, invariant 2).
        """
        step = step or self.loop.tape[-1]
        return replayed(self.training_step, step.batch, step.random_state, self._device_type)

    def next_step(self) -> InnerStep:
        """Return what the next inner step will see; batches and random numbers do not move on."""
        return InnerStep(to_device(self.batches.peek(), self.device), RandomState.snapshot())

    @property
    def _device_type(self) -> str:
        return torch.device(self.device).type

    # -- gradients: betty runs two backwards through the outer graph -----------------------------

    def backward(
        self, loss: Passes, params: Sequence[Tensor], paths: Sequence[Any], **_: Any
    ) -> None:
        """Set the gradients of `params`; along a path to an inner problem, the hypergradient."""
        self.cost += Cost(backwards=1)
        if paths:
            found, self.records, spent = hypergradient(loss, params, inner=paths[0][1])
            self.cost += spent
        else:
            # A forward difference can start from this pass, if it is in float32.
            start = self._parents and self.loop.needs_centre and not self.autocast
            both = gradients(loss, [*params, *(self._parents[0].parameters() if start else [])])
            found, g_a = both[: len(params)], both[len(params) :]
            self.loop.keep(found, g_a)
        self.set_grads(params, found)

    @property
    def examination_is_due(self) -> bool:
        """Whether to examine the coming hypergradient: at times, and at first on a coarse base."""
        coming = (self._count - self.warmup_steps) // self._unroll_steps
        every, coarse = self.diagnostics_every, self.precision is not None and coming == 1
        return coarse or (every > 0 and coming % every == 0)

    # -- schedule: betty's roll back loses the warm-up, and replays one of n inner steps ---------

    def step(self, global_step: int | None = None) -> None:
        """Take one inner step and, when `inner_steps` of them are done, what follows."""
        self._global_step = global_step
        self.step_normal(global_step=global_step)
        if self._roll_back and self.outer_is_due:
            self.step_after_roll_back()

    def step_normal(self, global_step: int | None = None) -> None:
        """Take one descent step; an inner problem then calls its parents, when they are due."""
        if self._inner_loop_start:
            self.loop = InnerLoop(self.hypergradient)
            if self._roll_back and self._count >= self.warmup_steps:
                self.cache_states()
        self._count += 1
        self.one_step_descent()
        self._inner_loop_start = self._count <= self.warmup_steps or self.outer_is_due
        if self.outer_is_due:
            # The outer pass runs this module in train mode; its batch norm must not learn from it.
            buffers = [b.clone() for b in self.module.buffers()]
            for parent in self._parents:
                parent.step_normal(global_step=global_step)
            assign(self.module.buffers(), buffers)

    def step_after_roll_back(self) -> None:
        """Put the weights back and take all the inner steps again, with the new gates."""
        self.recover_states()
        for step in self.loop.tape:
            with replay(step.random_state):
                super().one_step_descent(step.batch)

    @property
    def outer_is_due(self) -> bool:
        """Whether the inner step just taken is the last of its outer step."""
        past = self._count - self.warmup_steps
        return bool(self._parents) and past > 0 and past % self._unroll_steps == 0

    @property
    def begins_anew(self) -> bool:
        """Whether the next step begins an inner loop, so that nothing of the last one is needed."""
        return not self._parents or self._inner_loop_start

    def one_step_descent(self, batch: Any = None) -> dict[str, Any]:
        """Take one descent step on a new batch, remembered so that it can be replayed."""
        batch = self.cur_batch = self.get_batch()
        if self._parents:
            step = InnerStep(batch, RandomState.snapshot())
            self.loop.begin(step, self._trainable, self.optimizer, self.replayed_loss)
        losses = super().one_step_descent(batch)
        self._losses, self._read = summed([losses["loss"].value])[0].reshape(-1), None
        return losses

    @property
    def losses(self) -> list[float]:
        """Losses of the last step, one for each search; to read them is to wait for the device."""
        if self._read is None:
            self._read = self._losses.tolist()
        return self._read

    @property
    def loss(self) -> float:
        """Loss of the last step; of several searches the mean of those that are numbers."""
        finite = [loss for loss in self.losses if math.isfinite(loss)]
        return sum(finite) / len(finite) if self.members and finite else self.losses[0]

    def lose(self, found: Mapping[int, NotFinite]) -> None:
        """Leave the searches behind that are no longer finite; one that is alone stops.

        Raises:
            NotFinite: the search is alone.
        """
        if found and self.members is None:
            raise found[0]
        self.lost = {**found, **self.lost}

    # -- states: betty copies the whole module --------------------------------------------------

    def cache_states(self) -> None:
        """Remember trainable weights, buffers and optimizer."""
        self._cached = States.of(self._trainable, self.module, self.optimizer)

    def recover_states(self, clean: bool = True) -> None:
        """Put back what `cache_states` remembered, bit for bit."""
        assert self._cached is not None and clean, "recover_states follows cache_states"
        self._cached.put_back(self._trainable, self.module, self.optimizer)
        self._cached = None

    @contextmanager
    def at(self, weights: Sequence[Tensor] | None) -> Iterator[None]:
        """Run the body with these weights (None: as they are); weights and buffers come back."""
        with restored(self._trainable, self.module):
            if weights is not None:
                assign(self._trainable, weights)
            yield

    def state_dict(self) -> dict[str, Any]:
        """Return all that this problem needs to go on: trainable weights only, never the base."""
        return {
            "count": self._count,
            "weights": [p.detach().clone() for p in self._trainable],
            "buffers": [b.clone() for b in self.module.buffers()],
            "optimizer": copy.deepcopy(self.optimizer.state_dict()),
            "batches": self.batches.state_dict(),
            "cost": asdict(self.cost),
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from what `state_dict` returned between two outer steps."""
        self._count = state_dict["count"]
        assign(self._trainable, state_dict["weights"])
        assign(self.module.buffers(), state_dict["buffers"])
        # torch would step the moments of the state that it is given, in place.
        self.optimizer.load_state_dict(copy.deepcopy(state_dict["optimizer"]))
        self.batches.load_state_dict(state_dict["batches"])
        self.cost = Cost(**state_dict["cost"])
        self._inner_loop_start = True
