"""Passes: the loss of a batch as it is taken, part by part."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
from torch import Tensor

from autolora_meta.foundation.parts import Parts, each, weighted
from autolora_meta.foundation.randomness import RandomState, replay
from autolora_meta.hypergradients.vectors import Loss, parts_of


class Passes:
    """The losses of the passes of one batch, whose sum is its loss.

    Each pass is made when it is asked for, and is to be differentiated before the next: so memory
    holds the graph of one part of a batch.

    Args:
        losses: a scalar, or of several searches (R,); or those of its parts.

    Attributes:
        value: their sum so far, without a graph.
    """

    def __init__(self, losses: Tensor | Iterable[Tensor]) -> None:
        self._losses = losses
        self.value = torch.zeros(())

    def __iter__(self) -> Iterator[Tensor]:
        for number, loss in enumerate(parts_of(self._losses)):
            self.value = self.value + loss.detach() if number else loss.detach()
            yield loss.sum()  # no search's loss depends on another's numbers


def replayed(
    step: Callable[[Any], Tensor], batch: Any, state: RandomState, device_type: str
) -> Loss:
    """Return the loss of a batch in float32 as it is from a random state, or its parts.

    Args:
        step: batch or part of one -> loss, a scalar or (R,).
        batch: the batch.
        state: before the first pass; each part begins as the pass before it ended.
        device_type: of the passes.
    """
    if isinstance(batch, Parts):
        return _parts_replayed(step, batch, state, device_type)
    with replay(state), torch.autocast(device_type, enabled=False):
        return step(batch).sum()


def _parts_replayed(
    step: Callable[[Any], Tensor], batch: Parts, state: RandomState, device_type: str
) -> Iterator[Tensor]:
    for weight, part in each(batch):
        with replay(state), torch.autocast(device_type, enabled=False):
            loss = weighted(weight, step(part)).sum()
            state = RandomState.snapshot()
        yield loss
        del loss  # and its graph, before the next is made
