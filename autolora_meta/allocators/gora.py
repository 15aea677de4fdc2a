"""GoRA: ranks by gradient times weight, measured before anything is trained."""

import torch
from torch import Tensor

from autolora_meta.allocators.gradients import mean_gradients
from autolora_meta.allocators.replicate import Replicate
from autolora_meta.allocators.scored import proportional, scored
from autolora_meta.allocators.weights import weight_of

BATCHES = 64  # over which the gradient is averaged; the training of other peers is longer


def importance(replicate: Replicate) -> Tensor:
    """Return I_l = mean |W_l * G_l|, entry by entry; G_l is the mean gradient of the loss. (L,)

    The gradient is that of `BATCHES` training batches, in train mode.
    """
    names, _ = replicate.layers
    gradients = mean_gradients(replicate, "gora", BATCHES)
    weights = [weight_of(replicate.prepared.model, name).detach() for name in names]
    # I_l = mean |W_l * G_l|
    each = [(w.to(g.device) * g).abs() for w, g in zip(weights, gradients, strict=True)]
    return torch.stack([product.mean().double().cpu() for product in each])


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
