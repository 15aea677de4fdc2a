"""Matryoshka: nested ranks, trained all at once with a fixed weight on each component."""

import torch
from torch import Tensor

from autolora_meta.allocators.dylora import keep, losses_of_ranks, needed
from autolora_meta.allocators.replicate import Replicate
from autolora_meta.allocators.scored import scored
from autolora_meta.allocators.training import Training, learned_work, peer_steps, plain_lora


def diagonal(k: int) -> Tensor:
    """Return p_j = (k - j + 1) / k, the share of the ranks 1 to k that hold component j. (k,)

    It is the mean over b ~ U{1..k} of DyLoRA's masks.

    >>> diagonal(4)
    tensor([1.0000, 0.7500, 0.5000, 0.2500])
    """
    return torch.arange(k, 0, -1) / k


def scores(replicate: Replicate) -> Tensor:
    """Return the tolerance up to which each component of each layer is needed. (L, k)

    The update is B diag(p) A in every step, so that every rank learns in each, where DyLoRA draws
    one. It is read as DyLoRA's is (`dylora.scores`), with components at the weights that they were
    trained with.

    Departures from the paper: all ranks from 1 to k count alike; a rank of each layer is looked
    for, and retrained.
    """
    steps = peer_steps(replicate.config)
    with plain_lora(replicate) as (program, model, gates):
        weights = diagonal(gates.k)
        keep(gates.logits, gates.k, weights)
        training = Training(replicate, program, model, steps, "matryoshka")
        for _ in range(steps):
            training.step()
        losses = losses_of_ranks(training, gates, weights)
        training.close()
    return needed(losses)


ALLOCATOR = scored(
    scores,
    summary="nested ranks by a fixed weight on each component, read as DyLoRA's",
    source="MatryoshkaLoRA, arXiv 2605.07850",
    work=learned_work,
)
