"""Spectral: ranks by the effective rank of the early gradient, whitened by the layer's inputs."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from autolora_meta.allocators.gradients import mean_gradients
from autolora_meta.allocators.inputs import input_rows, patch_rows
from autolora_meta.allocators.replicate import Replicate
from autolora_meta.allocators.scored import proportional, scored

BATCHES = 16  # training batches of gradient and inputs
DAMPING = 1e-2  # lambda, in units of the mean eigenvalue of C


def effective_rank(gradient: Tensor, moment: Tensor, damping: float) -> float:
    """Return exp(-sum_i p_i log p_i), p_i = s_i^2 / sum_j s_j^2, of the whitened gradient.

    s are the singular values of M = -G (C + lambda I)^(-1/2), the direction of steepest descent
    where steps are measured by what they change in the layer's outputs. A gradient of 0 has rank 0.

    Args:
        gradient: G, of the loss by the weight. (out, in)
        moment: C, the second moment of the layer's inputs. (in, in)
        damping: lambda.

    Source: "Early Gradient Spectra and Useful Low-Rank Adaptation", Lin 2026; effective rank: Roy
    and Vetterli, 2007.

    >>> eye = torch.eye(2, dtype=torch.float64)
    >>> round(effective_rank(eye, eye, 0.0), 6)
    2.0
    """
    d, u = torch.linalg.eigh(moment)
    # M = -G U diag(1 / sqrt(d + lambda)) U^T, and U^T on the right changes no singular value
    energy = torch.linalg.svdvals(gradient @ u / (d.clamp_min(0) + damping).sqrt()).square()
    if not energy.sum() > 0:
        return 0.0
    return float(torch.special.entr(energy / energy.sum()).sum().exp())


def effective_ranks(replicate: Replicate) -> Tensor:
    """Return the effective rank of the whitened gradient of each layer. (L,)

    Gradient and inputs are those of `BATCHES` training batches at the pretrained weights, in
    evaluation mode. Tokens that the attention mask hides do not count. A convolution reads patches:
    its weight is out x (in * height * width). C takes in * in numbers of a layer in memory.

    Raises:
        InputError: a weight is quantised.
    """
    names, _ = replicate.layers
    model = replicate.prepared.model
    layers = [model.get_submodule(name) for name in names]
    with _watched(layers) as (moments, begin):
        gradients = mean_gradients(replicate, "spectral", BATCHES, train=False, begin=begin)
    ranks = []
    for layer, gradient, moment in zip(layers, gradients, moments(), strict=True):
        matrix = gradient.to("cpu", torch.float64).flatten(1)  # (out, in), of Conv1D (in, out)
        if isinstance(layer, Conv1D):
            matrix = matrix.mT
        damping = DAMPING * float(moment.diagonal().mean())
        ranks.append(effective_rank(matrix, moment, damping))
    return torch.tensor(ranks, dtype=torch.float64)


@contextmanager
def _watched(
    layers: list[nn.Module],
) -> Iterator[tuple[Callable[[], list[Tensor]], Callable[[Any], None]]]:
    """Inside, forward passes add to the second moments of the layers' inputs.

    Yields:
        What returns the moments, C_l = (1/n) sum x x^T (in, in) in float64 on the CPU; and what is
        to be told each batch.
    """
    total: dict[int, Tensor] = {}
    rows: dict[int, int] = {}
    now: list[Any] = [None]

    def hook_for(number: int) -> Callable[[nn.Module, Any, Any], None]:
        def hook(layer: nn.Module, inputs: Any, _: Any) -> None:
            patches = isinstance(layer, nn.Conv2d)
            x = patch_rows(layer, inputs[0]) if patches else input_rows(inputs, now[0])
            x = x.detach().float()
            product = (x.mT @ x).to("cpu", torch.float64)
            total[number] = total.get(number, 0) + product
            rows[number] = rows.get(number, 0) + len(x)

        return hook

    def begin(batch: Any) -> None:
        now[0] = batch

    handles = [layer.register_forward_hook(hook_for(i)) for i, layer in enumerate(layers)]
    try:
        yield lambda: [total[i] / rows[i] for i in range(len(layers))], begin
    finally:
        for handle in handles:
            handle.remove()


def scores(replicate: Replicate) -> Tensor:
    """Return scores by which ranks are in proportion to effective ranks. (L, k)

    Departures from the paper: no rank is above k, and the head is as it was drawn.
    """
    return proportional(effective_ranks(replicate), replicate.config.lora.k)


ALLOCATOR = scored(
    scores,
    summary="effective rank of the early gradient, whitened by the layer's inputs",
    source="Early Gradient Spectra and Useful Low-Rank Adaptation, Lin 2026",
    work=lambda config: float(BATCHES),
)
