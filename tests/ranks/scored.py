"""Layers with the scores that a test gives them."""

import torch

from autolora_meta.ranks.components import Components


def scored(scores: list[list[float]], costs: list[int] | None = None) -> Components:
    """Layers whose every importance is `scores`."""
    gates = torch.tensor(scores, dtype=torch.float64)
    one = torch.ones_like(gates)
    names = tuple(f"layer.{i}" for i in range(len(scores)))
    mean = gates.abs().mean(dim=1, keepdim=True)
    spectrum = gates / torch.where(mean == 0, 1.0, mean)  # for `layered`, which takes both
    each = gates, gates, one, gates, None, spectrum
    return Components(names, tuple(costs or [10] * len(scores)), 2.0, *each)


def drawn(layers: int, k: int, seed: int) -> Components:
    draw = torch.Generator().manual_seed(seed)
    scores = torch.rand(layers, k, generator=draw).tolist()
    costs = (768, 768, 1920)
    return scored(scores, [costs[i % 3] for i in range(layers)])
