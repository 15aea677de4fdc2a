"""Bilevel problems in float64: known spectra, ridge regression, a tiny gated attention."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from autolora_meta.foundation.randomness import RandomState, replay
from autolora_meta.hypergradients.products import Closure
from autolora_meta.hypergradients.vectors import Vector, add_scaled, flatten, norm, unflatten


def spectrum(condition: float, size: int = 20, largest: float = 1.0, seed: int = 0) -> Tensor:
    """A symmetric matrix with log-spaced eigenvalues from largest / condition to largest."""
    generator = torch.Generator().manual_seed(seed)
    basis, _ = torch.linalg.qr(torch.randn(size, size, generator=generator, dtype=torch.float64))
    exponents = torch.linspace(0, 1, size, dtype=torch.float64)
    values = largest / condition**exponents
    return (basis * values) @ basis.T


def vector(size: int = 20, seed: int = 1) -> list[Tensor]:
    """A random vector in two pieces, one a matrix, so that shapes matter."""
    generator = torch.Generator().manual_seed(seed)
    flat = torch.randn(size, generator=generator, dtype=torch.float64)
    return [flat[:4].view(2, 2), flat[4:]]


def matvec_of(matrix: Tensor) -> Callable[[Vector], list[Tensor]]:
    return lambda p: unflatten(matrix @ flatten(p), p)


def dense_solve(matrix: Tensor, v: Vector, damping: float = 0.0) -> list[Tensor]:
    """Return x with (matrix + damping I) x = v, in the shapes of v."""
    eye = torch.eye(len(matrix), dtype=matrix.dtype, device=matrix.device)
    return unflatten(torch.linalg.solve(matrix + damping * eye, flatten(v)), v)


def relative_error(found: Vector, true: Vector) -> float:
    return norm(add_scaled(found, -1.0, true)) / norm(true)


@dataclass
class Bilevel:
    inner: Closure
    outer: Closure
    params: list[Tensor]
    hyper: list[Tensor]


def ridge(seed: int = 0) -> tuple[Bilevel, Tensor]:
    """Ridge regression with a penalty exp(a_j) a feature, at its optimum, and df/da in closed form.

    g = |X w - y|^2 / 2 + sum_j exp(a_j) w_j^2 / 2,   f = |Z w - u|^2 / 2
    w* = (X^T X + diag(e^a))^-1 X^T y,   df/da = -e^a w* (X^T X + diag(e^a))^-1 Z^T (Z w* - u)
    """
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    x, y, z, u, a = draw(30, 6), draw(30), draw(12, 6), draw(12), draw(6)
    matrix = x.T @ x + torch.diag(a.exp())
    best = torch.linalg.solve(matrix, x.T @ y)
    closed = -a.exp() * best * torch.linalg.solve(matrix, z.T @ (z @ best - u))
    w, hyper = best.clone().requires_grad_(), a.clone().requires_grad_()

    def inner() -> Tensor:
        return ((x @ w - y) ** 2).sum() / 2 + (hyper.exp() * w**2).sum() / 2

    return Bilevel(inner, lambda: ((z @ w - u) ** 2).sum() / 2, [w], [hyper]), closed


def attention(dropout: float = 0.0, dtype: torch.dtype = torch.float64) -> Bilevel:
    """One block of scaled-dot-product attention whose value path has a gated rank-2 update.

    Dropout masks are the same at each call, as a caller of products has to see to.
    """
    torch.manual_seed(0)
    width, k = 6, 2
    base = nn.Linear(width, 3 * width).to(dtype).requires_grad_(False)
    a_matrix = (torch.randn(k, width, dtype=dtype) / 2).requires_grad_()
    b_matrix = (torch.randn(width, k, dtype=dtype) / 2).requires_grad_()
    logits = torch.randn(k, dtype=dtype, requires_grad=True)
    data = torch.randn(2, 3, 5, width, dtype=dtype)
    state = RandomState.snapshot()

    def loss(x: Tensor) -> Tensor:
        q, key, value = base(x).chunk(3, dim=-1)
        gates = k * torch.softmax(logits, -1)
        value = value + ((x @ a_matrix.T) * gates) @ b_matrix.T
        with replay(state):
            mixed = functional.dropout(value, dropout, training=True)
            # (batch, 1 head, tokens, width)
            out = functional.scaled_dot_product_attention(
                (q + mixed).unsqueeze(1), key.unsqueeze(1), mixed.unsqueeze(1)
            )
        return torch.tanh(out).pow(2).mean() + (out - x.unsqueeze(1)).pow(2).mean()

    return Bilevel(lambda: loss(data[0]), lambda: loss(data[1]), [a_matrix, b_matrix], [logits])


def outer_gradient(problem: Bilevel) -> list[Tensor]:
    """v = f_w at the current values."""
    return list(torch.autograd.grad(problem.outer(), problem.params))
