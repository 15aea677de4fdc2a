"""The kinds of steps to compare, each on a copy of the quickstart's model."""

import copy
import itertools
import logging
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, NamedTuple

import torch
from betty.configs import Config, EngineConfig
from betty.engine import Engine
from betty.problems import ImplicitProblem
from torch import nn

from autolora_meta.bilevel.feed import to_device
from autolora_meta.config.run import RunConfig
from autolora_meta.finetuning.prepare import Prepared
from autolora_meta.foundation import plugins
from autolora_meta.pipeline.program import program_of

Step = Callable[[], object]


class Arm(NamedTuple):
    """One kind of step: a plain one, one of our schedules, or betty's own."""

    method: str
    difference: str | None = None
    schedule: str | None = None

    @property
    def label(self) -> str:
        return " ".join(filter(None, self))


PLAIN = Arm("plain")
ARMS = (
    Arm("first_order", None, "alternating"),
    Arm("first_order", None, "look_ahead"),
    Arm("darts", "forward", "alternating"),
    Arm("darts", "central", "alternating"),
    Arm("darts", "forward", "look_ahead"),
    Arm("darts", "central", "look_ahead"),
    Arm("one_step", None, "alternating"),
    Arm("betty-darts", "central", "look_ahead"),
)


@contextmanager
def opened(arm: Arm, config: RunConfig, prepared: Prepared) -> Iterator[Step]:
    """Return a function that takes one step of this kind, all kinds on the same batches in order.

    Args:
        arm: the kind of step.
        config: gives model, targets, batches and optimizers.
        prepared: its model and rows; the model is copied.
    """
    prepared = Prepared(**{**vars(prepared), "model": copy.deepcopy(prepared.model)})
    hypergradient = {"method": arm.method.removeprefix("betty-")}
    if arm is PLAIN:
        hypergradient = {"method": "darts"}
    elif arm.difference and not arm.method.startswith("betty-"):
        hypergradient["scheme"] = arm.difference
    search = {"hypergradient": hypergradient, "warmup_steps": 0}
    config = RunConfig.load(
        config.model_dump(), {"search": search | {"schedule": arm.schedule or "alternating"}}
    )
    with ExitStack() as stack:
        program = program_of(config, prepared, config.seed)
        wrapped, gates, _ = stack.enter_context(program.opened())
        if arm is PLAIN:
            for layer in wrapped.modules():
                layer._forward_hooks.clear()  # no gates: PEFT's own LoRA
            yield _plain(wrapped, program)
        elif arm.method.startswith("betty-"):
            yield _betty(wrapped, gates, program)
        else:
            build = plugins.load(plugins.PROBLEMS, config.search.problem)
            streams = (program.train, program.validation)
            engine = build(
                wrapped, gates, *streams, program.loss, program.options, device=program.device
            )
            engine.train()
            yield engine.train_step


def _plain(model: nn.Module, program: Any) -> Step:
    optimizer = program.options.inner.build_for(model)

    def step() -> None:
        loss = program.loss(model, to_device(program.train.next(), program.device))
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        loss.item()

    return step


def _betty(model: nn.Module, gates: nn.Module, program: Any) -> Step:
    """Return a step of betty's own problems, engine and DARTS; the base stays out of its optimizer.

    The optimizer is Adam, which costs the same as AdamW: betty fails to rebuild AdamW.
    """

    class Inner(ImplicitProblem):
        def training_step(self, batch: Any) -> Any:
            return program.loss(self.module, batch)

        def trainable_parameters(self) -> list[nn.Parameter]:
            return [p for p in self.module.parameters() if p.requires_grad]

        parameters = trainable_parameters

    class Outer(ImplicitProblem):
        def training_step(self, batch: Any) -> Any:
            return program.loss(self.inner.module, batch)

    def adam(module: nn.Module, options: Any) -> torch.optim.Optimizer:
        trained = [p for p in module.parameters() if p.requires_grad]
        return torch.optim.Adam(trained, lr=options.learning_rate)

    def loader(stream: Any) -> Any:
        return (stream.next() for _ in itertools.count())

    logging.getLogger("betty").setLevel(logging.WARNING)
    inner = Inner(
        "inner",
        Config(type="darts"),
        module=model,
        optimizer=adam(model, program.options.inner),
        train_data_loader=loader(program.train),
    )
    outer = Outer(
        "outer",
        # It goes through the validation graph twice.
        Config(type="darts", retain_graph=True),
        module=gates,
        optimizer=adam(gates, program.options.outer),
        train_data_loader=loader(program.validation),
    )
    engine = Engine(
        config=EngineConfig(roll_back=True),
        problems=[outer, inner],
        dependencies={"u2l": {outer: [inner]}, "l2u": {inner: [outer]}},
    )
    engine.train()
    return engine.train_step
