"""Gradients of pretrained weights, averaged over training batches."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from autolora_meta.allocators.replicate import Replicate
from autolora_meta.allocators.training import peer_program
from autolora_meta.allocators.weights import weight_of
from autolora_meta.bilevel.feed import to_device
from autolora_meta.finetuning.lora import unwrapped_afterwards
from autolora_meta.finetuning.staying import moved
from autolora_meta.foundation.cost import Cost
from autolora_meta.foundation.parts import each, weighted
from autolora_meta.foundation.progress import Silent
from autolora_meta.foundation.randomness import derive, seeded


def mean_gradients(
    replicate: Replicate,
    label: str,
    batches: int,
    *,
    train: bool = True,
    begin: Callable[[Any], None] = lambda batch: None,
) -> list[Tensor]:
    """Return the mean gradient of the loss by the weight of each target layer.

    One forward and backward for each training batch, at the pretrained weights; the head is as it
    was drawn.

    Args:
        replicate: counts the passes in its cost and its progress.
        label: for progress, and the seed of what is drawn.
        batches: their number.
        train: whether dropout acts.
        begin: told each batch before its forward pass.

    Raises:
        InputError: a weight is quantised.
    """
    program, (names, _) = peer_program(replicate), replicate.layers
    model, progress = program.model, replicate.progress or Silent()
    with unwrapped_afterwards(model), seeded(derive(replicate.seed, label)):
        moved(model, program.device).train(train).requires_grad_(False)
        weights = [weight_of(model, name).requires_grad_() for name in names]
        total = [torch.zeros_like(w) for w in weights]
        progress.start(label, batches)
        for _ in range(batches):
            batch = to_device(program.train.next(), program.device)
            value = 0.0
            for weight, part in each(batch):
                begin(part)
                loss = weighted(weight, program.loss(model, part))
                for mean, gradient in zip(total, torch.autograd.grad(loss, weights), strict=True):
                    mean += gradient / batches
                value += float(loss.detach())
            replicate.cost += Cost(forwards=1, backwards=1)
            progress.step(value)
        progress.close()
    return total
