"""Training of peers: the model of the search, and single steps on it."""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch
from peft import PeftModel
from torch import nn

from autolora_meta.allocators.replicate import Replicate
from autolora_meta.bilevel.feed import to_device
from autolora_meta.bilevel.gating import GateOptions, Gates
from autolora_meta.config.run import RunConfig
from autolora_meta.errors import InputError
from autolora_meta.foundation.cost import Cost, plain_steps
from autolora_meta.foundation.parts import each, weighted
from autolora_meta.foundation.progress import Silent
from autolora_meta.pipeline.program import Program, program_of

# gate = 1 + logit: 1 leaves a component as LoRA has it, 0 takes it away.
PLAIN = GateOptions(constraint="free", gate_sum="k", per="component")


def learned_work(config: RunConfig) -> float:
    """Return the most that the learned search costs, in plain steps."""
    return config.learned_work


def peer_steps(config: RunConfig) -> int:
    """Return the steps of a peer: as many plain steps as the learned search costs at most."""
    return math.ceil(learned_work(config))


def peer_program(replicate: Replicate) -> Program:
    """Return model, batches and optimizers of the replicate's search.

    The default decay of the factors is part of our method: peers have a decay only if the
    configuration sets one.
    """
    program = program_of(replicate.config, replicate.prepared, replicate.seed, "frozen")
    inner = program.options.inner
    inner = inner.model_copy(update={"weight_decay": inner.weight_decay or 0.0})
    options = program.options.model_copy(update={"gates": PLAIN, "inner": inner})
    return replace(program, options=options)


@contextmanager
def plain_lora(replicate: Replicate) -> Iterator[tuple[Program, PeftModel, Gates]]:
    """Yield the model with LoRA of rank k and all gates at 1; restore it afterwards."""
    program = peer_program(replicate)
    with program.opened() as (model, gates, _):
        gates.requires_grad_(False)
        yield program, model, gates


class Training:
    """Plain training steps by the run's `search` section, counted on the replicate.

    Args:
        replicate: counts the steps in its cost and its progress.
        program: gives batches, loss and the inner optimizer.
        model: the model, on its device; every parameter that requires gradients is trained.
        steps: number of steps, for progress.
        label: for progress.
    """

    def __init__(
        self, replicate: Replicate, program: Program, model: nn.Module, steps: int, label: str
    ) -> None:
        self._replicate, self._program, self._model = replicate, program, model
        self._optimizer = program.options.inner.build_for(model)
        self._progress = replicate.progress or Silent()
        self._progress.start(label, steps)

    def step(self) -> None:
        """Run one forward, one backward and one optimizer step; keep the gradients."""
        self._optimizer.zero_grad()
        program = self._program
        device = torch.device(program.device)
        batch = to_device(program.train.next(), device)
        bf16 = program.options.precision == "bf16"
        value = 0.0
        for weight, part in each(batch):
            with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
                loss = program.loss(self._model, part)
            weighted(weight, loss).backward()
            value += float(loss.detach()) * (1.0 if weight is None else weight)
        if not math.isfinite(value):
            raise InputError(
                f"the loss of a peer's training is {value}; lower search.inner.learning_rate"
            )
        self._optimizer.step()
        self._replicate.cost += Cost(forwards=1, backwards=1)
        self._progress.step(value)

    def spent(self, cost: Cost) -> None:
        """Count passes beside the steps."""
        self._replicate.cost += cost
        self._progress.step(work=plain_steps(cost))

    def validation(self, count: int) -> list[Any]:
        """Return the next `count` validation batches, on the model's device."""
        return [
            to_device(self._program.validation.next(), self._program.device) for _ in range(count)
        ]

    @torch.no_grad()
    def loss(self, batches: Sequence[Any]) -> float:
        """Return the mean loss over the batches; leave the model in evaluation mode."""
        self._model.eval()
        self.spent(Cost(forwards=len(batches)))
        return sum(float(self._program.loss(self._model, b)) for b in batches) / len(batches)

    def close(self) -> None:
        """End the progress."""
        self._progress.close()
