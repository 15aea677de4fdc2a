"""A quadratic bilevel problem with a Hessian of given condition number."""

import torch
from torch import Tensor

from autolora_meta.hypergradients.vectors import Vector
from autolora_meta.verification.case import ONE_STEP, Case

SIZE = 20


def quadratic(condition: float, seed: int = 0) -> Case:
    """g = w^T A w / 2 - w^T B a,   f = |w - t|^2 / 2 + c^T a,   at the optimum w = A^-1 B a.

    A has log-spaced eigenvalues from 1 / condition to 1. The third derivatives are zero, so finite
    differences err by rounding alone.

    Args:
        condition: lambda_max / lambda_min of the inner Hessian A.
        seed: of A, B, t and c.
    """
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    basis, _ = torch.linalg.qr(draw(SIZE, SIZE))
    values = condition ** -torch.linspace(0, 1, SIZE, dtype=torch.float64)
    curvature = (basis * values) @ basis.T
    b, c, t, a = draw(SIZE, 6), draw(6), draw(SIZE), draw(6)
    w = torch.linalg.solve(curvature, b @ a).requires_grad_()
    hyper = a.requires_grad_()

    def inner(weights: Vector) -> Tensor:
        (v,) = weights
        return v @ curvature @ v / 2 - v @ b @ hyper

    def outer(weights: Vector) -> Tensor:
        return ((weights[0] - t) ** 2).sum() / 2 + c @ hyper

    most = SIZE if condition <= 10 else 3 * SIZE
    methods = (
        *ONE_STEP,
        *({"method": "neumann", "iterations": k, "damping": 0.0} for k in (5, 20, 80, 320)),
        {"method": "cg", "iterations": most, "tolerance": 1e-13, "damping": 0.0},
        {"method": "nystrom", "columns": SIZE, "rho": 1e-2},
    )
    return Case("quadratic", [w], [hyper], inner, outer, methods, betty=SIZE, condition=condition)
