"""A case from a configuration: its model and data, as a search would use them."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor

from autolora_meta.bilevel.feed import to_device
from autolora_meta.config.run import RunConfig
from autolora_meta.finetuning.prepare import Prepared, prepare
from autolora_meta.foundation.randomness import RandomState, replay
from autolora_meta.hypergradients.vectors import Vector
from autolora_meta.pipeline.program import program_of
from autolora_meta.verification.case import Case
from autolora_meta.verification.objective import Objective

DAMPING = 10.0
# Inner steps before anything is measured: while B is zero half of the derivatives are.
WARMUP = 10


@contextmanager
def model_case(
    config: RunConfig, *, prepared: Prepared | None = None, warmup: int = WARMUP
) -> Iterator[Case]:
    """Return the case of one training and one validation batch, in train mode, after a warm-up.

    Args:
        config: gives model, data, targets, batch sizes and inner learning rate.
        prepared: model and rows, if already loaded.
        warmup: inner steps before the point, at the configured learning rate.
    """
    prepared = prepared or prepare(config.model, config.data, config.task, config.seed)
    program = program_of(config, prepared, config.seed)
    with program.opened() as (wrapped, gates, _):
        objective = Objective(wrapped, program.loss)
        device = torch.device(program.device)
        _warm_up(objective, program.train, config.search.inner.learning_rate, warmup, device)
        train = to_device(program.train.next(), device)
        validation = to_device(program.validation.next(), device)
        masks = RandomState.snapshot()

        def at(batch: object, weights: Vector) -> Tensor:
            with replay(masks):
                return objective.at(weights, batch)

        yield Case(
            "model",
            objective.params,
            [gates.logits],
            partial(at, train),
            partial(at, validation),
            damping=DAMPING,
            fresh=lambda weights: objective.at(weights, train),
            learning_rate=config.search.inner.learning_rate,
            dtype="float32",
            dropout=_dropout(objective),
            dense=False,
        )


def under_bf16(case: Case) -> Case:
    """Return the same point with training passes (inner step, v, f_a) under bf16 autocast.

    The references stay in float32.
    """
    device = case.params[0].device.type
    training = partial(torch.autocast, device, torch.bfloat16)
    return replace(case, dtype="bf16", training=training, passes={})


def _warm_up(
    objective: Objective, batches: object, eta: float, steps: int, device: torch.device
) -> None:
    optimizer = torch.optim.AdamW(objective.params, lr=eta)
    for _ in range(steps):
        batch = to_device(batches.next(), device)  # type: ignore[attr-defined]
        objective(batch).backward()
        optimizer.step()
        optimizer.zero_grad()


def _dropout(objective: Objective) -> float:
    """Return the largest rate of a dropout layer; attention's is the same in the usual models."""
    layers = (m for m in objective.modules() if isinstance(m, torch.nn.Dropout))
    return max((layer.p for layer in layers), default=0.0)
