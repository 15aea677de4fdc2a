"""Ridge regression with a penalty for each feature: the hypergradient has a closed form."""

import torch
from torch import Tensor

from autolora_meta.hypergradients.vectors import Vector
from autolora_meta.verification.case import ONE_STEP, Case


def ridge(features: int = 8, seed: int = 0) -> tuple[Case, Tensor]:
    """Return the case at the optimum of its inner problem, and df/da in closed form.

    g = |X w - y|^2 / (2 n) + sum_j exp(a_j) w_j^2 / 2,   f = |Z w - u|^2 / (2 m)

    with w* = (X^T X / n + diag(e^a))^-1 X^T y / n and
    df/da_j = -e^(a_j) w*_j [(X^T X / n + diag(e^a))^-1 Z^T (Z w* - u) / m]_j.

    Args:
        features: entries of w and of a.
        seed: of the data.
    """
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    n, m = 40, 20
    x, y, z, u, a = draw(n, features), draw(n), draw(m, features), draw(m), draw(features) / 2
    matrix = x.T @ x / n + torch.diag(a.exp())
    best = torch.linalg.solve(matrix, x.T @ y / n)
    closed = -a.exp() * best * torch.linalg.solve(matrix, z.T @ (z @ best - u) / m)
    w, hyper = best.clone().requires_grad_(), a.clone().requires_grad_()

    def inner(weights: Vector) -> Tensor:
        (v,) = weights
        return ((x @ v - y) ** 2).mean() / 2 + (hyper.exp() * v**2).sum() / 2

    def outer(weights: Vector) -> Tensor:
        return ((z @ weights[0] - u) ** 2).mean() / 2

    methods = (
        *ONE_STEP,
        {"method": "neumann", "iterations": 80, "damping": 0.0},
        {"method": "cg", "iterations": features, "tolerance": 1e-13, "damping": 0.0},
        {"method": "nystrom", "columns": features, "rho": 1e-2},
    )
    return Case("ridge", [w], [hyper], inner, outer, methods, betty=features), closed
