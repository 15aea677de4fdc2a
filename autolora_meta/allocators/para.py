"""PARA: LoRA trained at high rank, all singular values cut at one threshold."""

import torch
from torch import Tensor

from autolora_meta.allocators.replicate import Replicate
from autolora_meta.allocators.scored import scored
from autolora_meta.allocators.training import Training, learned_work, peer_steps, plain_lora
from autolora_meta.bilevel.gating import lora_factors
from autolora_meta.ranks.components import Components


def scores(replicate: Replicate) -> Tensor:
    """Return the singular values of c B A after plain training at rank k. (L, k)

    It trains for as many plain steps as the learned search costs; `frozen` is the same cut after
    the steps of the search alone. Departures from the paper: the budget sets the threshold, and the
    ranks are retrained, where the paper keeps the truncated factors.
    """
    steps = peer_steps(replicate.config)
    names, costs = replicate.layers
    with plain_lora(replicate) as (program, model, gates):
        training = Training(replicate, program, model, steps, "para")
        for _ in range(steps):
            training.step()
        training.close()
        factors = lora_factors(model, names)
        with torch.no_grad():
            scale = replicate.config.lora.scale
            trained = Components.from_factors(names, costs, scale, gates(), factors)
    return trained.singular


ALLOCATOR = scored(
    scores,
    summary="plain LoRA trained at rank k, all singular values cut at one threshold",
    source="PARA, arXiv 2604.27796",
    work=learned_work,
)
