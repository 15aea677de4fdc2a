"""SARA: as many ranks as singular directions hold a given share of the pretrained weight."""

import torch
from torch import Tensor

from autolora_meta.allocators.replicate import Replicate
from autolora_meta.allocators.scored import scored
from autolora_meta.allocators.weights import matrices


def left_over(spectrum: Tensor, k: int) -> Tensor:
    """Return the share of a weight's mass that its first j - 1 directions leave, for j = 1 to k.

    r(tau) = #{j : sum_{i<j} s_i < tau sum_i s_i}, so component j enters when tau passes the share
    before it: descending scores over all layers correspond to one growing tau.

    Args:
        spectrum: singular values, descending. (n,), n >= k
        k: components of a layer.

    >>> left_over(torch.tensor([3.0, 1.0]), k=2)
    tensor([1.0000, 0.2500])
    """
    held = spectrum.cumsum(0) / spectrum.sum()  # sum_{i<=j} s_i / sum_i s_i
    return 1 - torch.cat([held.new_zeros(1), held[: k - 1]])


def scores(replicate: Replicate) -> Tensor:
    """Return, for each component of each weight, the share of mass left by those before it. (L, k)

    Every layer gets rank 1 before any gets rank 2.

    Departures from the paper: its share is given, here the budget sets it; no rank is above k; and
    every arm is retrained as LoRA, where the paper trains a singular part beside the weight.
    """
    names, _ = replicate.layers
    k = replicate.config.lora.k
    spectra = [torch.linalg.svdvals(w) for w in matrices(replicate.prepared.model, names)]
    return torch.stack([left_over(s, k) for s in spectra])


ALLOCATOR = scored(
    scores,
    summary="singular directions that hold one share of the pretrained weight's mass",
    source="SARA, arXiv 2408.03290",
    static=True,
)
