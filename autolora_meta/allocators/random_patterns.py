"""Random patterns, numbered: each the same in every replicate, so that both can be told apart."""

from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor

from autolora_meta.allocators.replicate import Allocator, Replicate
from autolora_meta.allocators.scored import proportional, scored
from autolora_meta.foundation.randomness import derive
from autolora_meta.ranks.place import Place

SPREAD_OF_KINDS = 0.7  # standard deviations of logarithms of weights
SPREAD_OF_LAYERS = 0.7


def pattern(number: int) -> Allocator:
    """Return the allocator of random pattern `number`, from 1.

    It depends on the layers, k, the budget and its number, not on the seed of the replicate.
    """
    return scored(
        partial(_scores, number),
        summary="random pattern 1, 2, ... at the budget, the same in every replicate",
        source="control: what ranks can change at all (`autolora-meta headroom`)",
        static=True,
    )


def _scores(number: int, replicate: Replicate) -> Tensor:
    names, _ = replicate.layers
    return proportional(weights(names, number), replicate.config.lora.k)


def weights(names: Sequence[str], number: int) -> Tensor:
    """Return the weights of the layers in a random pattern, to which its ranks are in proportion.

    w_l = exp(s_kind z_kind(l) + s_layer z_l) with z standard normal: log-normal for each layer
    times log-normal for its kind of module. With both s at 0.7 and the budget of quickstart, one
    rank a layer with k = 4, ranks are as uneven as learned ones: their standard deviation over
    layers is 1.02 (100 patterns), that of a learned pattern 1.00. Components drawn one by one
    (`random`) would hardly move parameters from one kind of module to another, as learned ranks do.

    Args:
        names: of the layers. (L,)
        number: of the pattern.
    """
    kinds = [Place.of(name).kind for name in names]
    each = list(dict.fromkeys(kinds))
    draw = torch.Generator().manual_seed(derive(number, "random pattern"))
    of_kinds = torch.randn(len(each), generator=draw, dtype=torch.float64)
    of_layers = torch.randn(len(names), generator=draw, dtype=torch.float64)
    of_kind = of_kinds[[each.index(kind) for kind in kinds]]
    return torch.exp(SPREAD_OF_KINDS * of_kind + SPREAD_OF_LAYERS * of_layers)
