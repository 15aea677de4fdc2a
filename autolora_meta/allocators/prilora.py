"""PRILoRA: ranks that grow linearly with depth, whatever the task."""

import torch
from torch import Tensor

from autolora_meta.allocators.replicate import Replicate
from autolora_meta.allocators.scored import proportional, scored
from autolora_meta.ranks.place import Place

SHALLOW, DEEP = 4, 12  # the paper's ranks of the first and the last block; their ratio is kept


def depths(names: tuple[str, ...]) -> list[int]:
    """Return the block of each layer, counted from 0 in the order of the model. (L,)

    A layer outside any block (a pooler) is a block of its own.

    >>> depths(("encoder.0.query", "encoder.0.value", "encoder.1.query", "pooler"))
    [0, 0, 1, 2]
    """
    places = [Place.of(name) for name in names]
    blocks = list(dict.fromkeys((place.stack, place.block) for place in places))
    return [blocks.index((place.stack, place.block)) for place in places]


def scores(replicate: Replicate) -> Tensor:
    """Return scores by which ranks grow linearly with depth. (L, k)

    r(d) = 4 + (12 - 4) d / (D - 1), d being the place of a layer's block among D.

    Departures from the paper: the line is scaled to the budget; A is not pruned, since every arm is
    retrained alike.
    """
    names, _ = replicate.layers
    depth = torch.tensor(depths(names), dtype=torch.float64)
    # r(d) = r_s + (r_f - r_s) d / (D - 1)
    line = SHALLOW + (DEEP - SHALLOW) * depth / depth.max().clamp_min(1)
    return proportional(line, replicate.config.lora.k)


ALLOCATOR = scored(
    scores,
    summary="ranks that grow linearly with depth",
    source="PRILoRA, arXiv 2401.11316",
    static=True,
)
