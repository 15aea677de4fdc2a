"""ShapLoRA: ranks by the Shapley values of a trained LoRA's components on validation rows."""

import math

import torch
from torch import Tensor

from autolora_meta.allocators.replicate import Replicate
from autolora_meta.allocators.scored import scored
from autolora_meta.allocators.shapley import antithetic_pair
from autolora_meta.allocators.training import Training, learned_work, peer_steps, plain_lora
from autolora_meta.bilevel.gating import lora_factors
from autolora_meta.bilevel.sensitivity import in_singular_form
from autolora_meta.foundation.randomness import derive


def grouping(layers: int, k: int, forwards: int) -> tuple[int, int]:
    """Return how many components of a layer are one player, and how many pairs of orders to draw.

    Groups are as small as lets one pair fit; if none does, a layer is a player, and one pair is
    drawn all the same.

    Args:
        layers: L.
        k: components of each.
        forwards: forward passes that may be spent. A pair takes two for each player.

    >>> grouping(layers=37, k=4, forwards=250)
    (2, 1)
    """
    for size in range(1, k + 1):
        a_pair = 2 * layers * math.ceil(k / size)
        if a_pair <= forwards:
            return size, forwards // a_pair
    return k, 1


def scores(replicate: Replicate) -> Tensor:
    """Return the Shapley value of each direction: its share in the fall of the loss. (L, k)

    The players are the singular directions of the updates of plain LoRA of rank k, and v(S) =
    -f(S), f(S) the validation loss of the model with the directions S alone. A pair of orders sees
    one validation batch, in evaluation mode. Half of what the learned search costs goes into the
    training, half into forward passes.

    Departures from the paper: it trains an adapter in the form of an SVD, where singular directions
    are taken here after plain training; the value of a coalition is the loss, where it takes
    sensitivities of ranks in coalitions; where the passes are too few for all directions, those
    next to each other in a layer are one player and share its value (`grouping`).
    """
    steps, (names, _), k = peer_steps(replicate.config), replicate.layers, replicate.config.lora.k
    trained = math.ceil(steps / 2)
    size, pairs = grouping(len(names), k, 2 * (steps - trained))
    groups = math.ceil(k / size)
    draw = torch.Generator().manual_seed(derive(replicate.seed, "shaplora"))
    total = torch.zeros(len(names) * groups, dtype=torch.float64)
    with plain_lora(replicate) as (program, model, gates):
        training = Training(replicate, program, model, steps, "shaplora")
        for _ in range(trained):
            training.step()
        with torch.no_grad(), in_singular_form(gates, lora_factors(model, gates.names)):
            for _ in range(pairs):
                batch = training.validation(1)

                def value(members: Tensor) -> float:
                    """Return -f of the model with the directions of these players alone."""
                    inside = members.view(-1, groups).repeat_interleave(size, dim=1)  # (L, >= k)
                    gates.logits.copy_(inside[:, :k].float() - 1)  # gate = 1 + logit
                    return -training.loss(batch)  # noqa: B023, called in this turn

                total += antithetic_pair(value, len(total), draw)
        training.close()
    members = torch.arange(k) // size  # direction -> its player in the layer
    return (total / pairs).view(-1, groups)[:, members] / members.bincount()[members]


ALLOCATOR = scored(
    scores,
    summary="Shapley values of a trained LoRA's components on validation rows",
    source="ShapLoRA, arXiv 2601.17921",
    work=learned_work,
)
