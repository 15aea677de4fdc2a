"""GoRA: ranks by gradient times weight, measured before anything is trained."""

import torch
from torch import Tensor

from autolora_meta.allocators.replicate import Replicate
from autolora_meta.allocators.scored import proportional, scored
from autolora_meta.allocators.training import peer_program
from autolora_meta.allocators.weights import weight_of
from autolora_meta.bilevel.feed import to_device
from autolora_meta.finetuning.lora import unwrapped_afterwards
from autolora_meta.foundation.cost import Cost
from autolora_meta.foundation.progress import Silent
from autolora_meta.foundation.randomness import derive, seeded

BATCHES = 64  # over which the gradient is averaged; the training of other peers is longer


def importance(replicate: Replicate) -> Tensor:
    """Return I_l = mean |W_l * G_l|, entry by entry; G_l is the mean gradient of the loss. (L,)

    One forward and backward for each of `BATCHES` training batches, in train mode, at the
    pretrained weights; the head is as it was drawn.
    """
    program, (names, _) = peer_program(replicate), replicate.layers
    model, progress = program.model, replicate.progress or Silent()
    with unwrapped_afterwards(model), seeded(derive(replicate.seed, "gora")):
        model.to(program.device).train().requires_grad_(False)
        weights = [weight_of(model, name).requires_grad_() for name in names]
        total = [torch.zeros_like(w) for w in weights]
        progress.start("gora", BATCHES)
        for _ in range(BATCHES):
            loss = program.loss(model, to_device(program.train.next(), program.device))
            for mean, gradient in zip(total, torch.autograd.grad(loss, weights), strict=True):
                mean += gradient / BATCHES
            replicate.cost += Cost(forwards=1, backwards=1)
            progress.step(float(loss.detach()))
        progress.close()
        pairs = zip(weights, total, strict=True)
        # I_l = mean |W_l * G_l|
        return torch.stack([(w.detach() * g).abs().mean().double().cpu() for w, g in pairs])


def scores(replicate: Replicate) -> Tensor:
    """Return scores by which r_l is in proportion to I_l / sqrt(in + out). (L, k)

    Departures from the paper: its budget counts sqrt(in + out) for a rank, ours counts parameters;
    limits of ranks are the run's (by default 0 and k); B does not start from the gradient, since
    every arm is retrained alike.
    """
    _, costs = replicate.layers
    # r_l ~ (I_l / sum I) / sqrt(m + n)
    weights = importance(replicate) / torch.tensor(costs).double().sqrt()
    return proportional(weights, replicate.config.lora.k)


ALLOCATOR = scored(
    scores,
    summary="gradient times pretrained weight, before training",
    source="GoRA, arXiv 2502.12171",
    work=lambda config: float(BATCHES),
)
