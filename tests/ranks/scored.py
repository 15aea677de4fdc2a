"""Layers with the scores that a test gives them."""

import torch

from autolora_meta.ranks.components import Components


def scored(scores: list[list[float]], costs: list[int] | None = None) -> Components:
    """Layers whose every importance is `scores`."""
    gates = torch.tensor(scores, dtype=torch.float64)
    one = torch.ones_like(gates)
    names = tuple(f"layer.{i}" for i in range(len(scores)))
    return Components(names, tuple(costs or [10] * len(scores)), 2.0, gates, gates, one, gates)


def drawn(layers: int, k: int, seed: int) -> Components:
    draw = torch.Generator().manual_seed(seed)
    scores = torch.rand(layers, k, generator=draw).tolist()
    costs = (768, 768, 1920)
    return scored(scores, [costs[i % 3] for i in range(layers)])
