"""Dense references for small problems: explicit second derivatives."""

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from autolora_meta.hypergradients.products import Closure
from autolora_meta.hypergradients.vectors import Vector, filled, flatten


def _rows(loss: Closure, params: Vector, inputs: Vector) -> Tensor:
    """d/d(inputs) of each entry of g_w, one double backward a row. (p, n)"""
    # Fused attention has no double backward; the math kernel has one.
    with torch.enable_grad(), sdpa_kernel(SDPBackend.MATH):
        gradients = torch.autograd.grad(loss(), params, create_graph=True, allow_unused=True)
    rows = []
    for gradient, w in zip(gradients, params, strict=True):
        entries = torch.zeros_like(w) if gradient is None else gradient
        for entry in entries.reshape(-1):
            if entry.requires_grad:
                row = torch.autograd.grad(entry, inputs, retain_graph=True, allow_unused=True)
            else:
                row = [None] * len(inputs)
            rows.append(flatten(filled(row, inputs)))
    return torch.stack(rows)


def dense_hessian(loss: Closure, params: Vector) -> Tensor:
    """H = d2g/dw2. (p, p), p entries in `params`."""
    return _rows(loss, params, params)


def dense_mixed(loss: Closure, params: Vector, hyper: Vector) -> Tensor:
    """J = d2g/(da dw). (q, p), q entries in `hyper`, p in `params`."""
    return _rows(loss, params, hyper).T
