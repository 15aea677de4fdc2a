"""The Nystrom solver: a low-rank approximation of H, inverted by the Woodbury formula."""

import torch
from pydantic import Field
from torch import Tensor

from autolora_meta.foundation.options import Options
from autolora_meta.hypergradients.solvers import DAMPING, InnerUpdate, Matvec, SolverRecord, Stopped
from autolora_meta.hypergradients.vectors import Vector, flatten, unflatten


class NystromOptions(Options):
    """Options of `nystrom`."""

    columns: int = Field(
        default=10,
        ge=1,
        description="k: columns of H; each costs one product and one float per weight.",
    )
    rho: float = Field(default=DAMPING, gt=0, description="Damping: x = (H_k + rho I)^-1 v.")
    seed: int = Field(default=0, ge=0, description="Seed of the choice of columns.")


def nystrom(
    matvec: Matvec, v: Vector, options: NystromOptions, inner: InnerUpdate | None = None
) -> tuple[list[Tensor], SolverRecord]:
    """x = (H_k + rho I)^-1 v with H_k = C W^+ C^T (Hataya and Yamada, arXiv 2302.09726).

    C holds k columns of H, drawn by `seed`, and W the same rows of C. The Woodbury formula
    subtracts numbers of size 1 / rho; an orthonormal basis of the columns gives the same x without
    that cancellation.
    """
    flat = flatten(v)
    size = flat.numel()
    count = min(options.columns, size)
    generator = torch.Generator().manual_seed(options.seed)
    chosen = torch.randperm(size, generator=generator)[:count].to(flat.device)
    columns = torch.stack([_column(matvec, int(i), flat, v) for i in chosen], dim=1)  # C, (p, k)

    block = columns[chosen]  # W, (k, k)
    values, bases = torch.linalg.eigh((block + block.T) / 2)
    floor = torch.finfo(flat.dtype).eps * count * values.abs().max()
    kept = values.abs() > floor
    # H_k = Q (R U diag(1/lambda) U^T R^T) Q^T, with C = Q R and W = U diag(lambda) U^T
    basis, upper = torch.linalg.qr(columns)
    arm = upper @ bases[:, kept]
    small = (arm / values[kept]) @ arm.T
    curvatures, rotation = torch.linalg.eigh((small + small.T) / 2)
    basis = basis @ rotation
    inside = basis.T @ flat
    # x = Q (M + rho)^-1 Q^T v + (v - Q Q^T v) / rho
    x = basis @ (inside / (curvatures + options.rho)) + (flat - basis @ inside) / options.rho

    smallest = float(curvatures.min())
    stopped: Stopped = "exact" if count == size else "iterations"
    message = ""
    if not torch.isfinite(x).all():
        stopped, message = "diverged", "a column of H is not finite, or H + rho I is singular"
    elif smallest + options.rho <= 0:
        stopped = "negative curvature"
        message = f"H has curvature {smallest:.3g}; a rho above {-smallest:.3g} makes it positive"
    return unflatten(x, v), SolverRecord(count, None, smallest, stopped, message)


def _column(matvec: Matvec, index: int, flat: Tensor, like: Vector) -> Tensor:
    unit = torch.zeros_like(flat)
    unit[index] = 1.0
    return flatten(matvec(unflatten(unit, like)))
