"""The factors of a layer: norms of its components, singular directions of its update."""

from collections import defaultdict
from collections.abc import Sequence

import torch
from torch import Tensor

from autolora_meta.errors import InputError, NotFinite

Factors = tuple[Tensor, Tensor]  # A (k, in) or (k, in, kh, kw), B (out, k) or (out, k, 1, 1)
_NOT_FINITE = (
    "are no longer finite, and have no importance; lower the learning rates and the weight decay "
    "of search.inner and search.outer"
)


def norms_and_singular_values(
    names: Sequence[str], gates: Tensor, factors: Sequence[Factors], scale: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Return column norms of B, row norms of A and singular values of c B diag(gates) A.

    Layers of one shape are batched: a search does this after every outer step.

    Args:
        names: for messages. (L,)
        gates: weight of each component. (L, k)
        factors: (A, B) of each layer.
        scale: the constant c.

    Returns:
        Three tensors (L, k) in float64. Singular values descend; missing ones are 0.

    Raises:
        InputError: factors do not have k components, or a number is not finite.
    """
    gates = gates.detach().to("cpu", torch.float64)
    if not gates.isfinite().all():
        raise NotFinite(f"the gates {_NOT_FINITE}")
    k, near = gates.shape[1], _on_the_cpu(factors)
    matrices = [_matrices(name, k, *pair) for name, pair in zip(names, near, strict=True)]
    alike: dict[tuple[torch.Size, torch.Size], list[int]] = defaultdict(list)
    for layer, (a, b) in enumerate(matrices):
        alike[a.shape, b.shape].append(layer)
    norm_u, norm_v, singular = (torch.zeros_like(gates) for _ in range(3))
    for layers in alike.values():
        a = torch.stack([matrices[layer][0] for layer in layers])  # (n, k, in)
        b = torch.stack([matrices[layer][1] for layer in layers])  # (n, out, k)
        norm_u[layers] = torch.linalg.vector_norm(b, dim=1)
        norm_v[layers] = torch.linalg.vector_norm(a, dim=2)
        # B diag(g) = Q_b R_b, A^T = Q_a R_a  =>  sv(B diag(g) A) = sv(R_b R_a^T), at most k x k
        r_b = torch.linalg.qr(b * gates[layers, None, :], mode="r").R
        r_a = torch.linalg.qr(a.mT, mode="r").R
        values = abs(scale) * torch.linalg.svdvals(r_b @ r_a.mT)
        singular[layers, : values.shape[1]] = values
    return norm_u, norm_v, singular


def norms_and_singular_values_of_several(
    gates: Tensor, factors: Sequence[Factors], scale: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Return what `norms_and_singular_values` does, of R searches at once.

    From Gram matrices, on the device of the factors: what goes to the CPU is k x k. Singular values
    below 1e-8 of the largest of their layer are rounding. What is not finite counts as 0.

    Args:
        gates: weight of each component. (R, L, k)
        factors: of each layer, A (R, k, in...) and B (R, out, k...).
        scale: the constant c.

    Returns:
        Three tensors (R, L, k) in float64 on the CPU.
    """
    both = []
    for a, b in factors:
        a, b = (t.detach().double().flatten(2) for t in (a, b))
        both.append(torch.stack([a @ a.mT, b.mT @ b]))  # (2, R, k, k)
    gram_a, gram_b = torch.stack(both, dim=2).cpu().nan_to_num(0, 0, 0)  # (R, L, k, k)
    norm_u, norm_v = (gram.diagonal(dim1=-2, dim2=-1).sqrt() for gram in (gram_b, gram_a))
    g = gates.detach().to("cpu", torch.float64).nan_to_num(0, 0, 0)
    # A A^T = U D U^T  =>  sv(B diag(g) A)^2 = eig(D^1/2 U^T diag(g) B^T B diag(g) U D^1/2)
    d, u = torch.linalg.eigh(gram_a)
    half = g[..., None] * u * d.clamp_min(0).sqrt()[..., None, :]
    squares = torch.linalg.eigvalsh(half.mT @ gram_b @ half).flip(-1)
    return norm_u, norm_v, abs(scale) * squares.clamp_min(0).sqrt()


def singular_directions(gates: Tensor, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return the update in singular form, B diag(gates) A = P diag(s) Q^T, by k x k matrices alone.

    Args:
        gates: (k,)
        a: (k, in) with in >= k
        b: (out, k) with out >= k

    Returns:
        P (out, k) and Q (in, k) with orthonormal columns, and s (k,), descending.
    """
    # B diag(g) = Q_b R_b, A^T = Q_a R_a, R_b R_a^T = U diag(s) V^T  =>  P = Q_b U, Q = Q_a V
    q_b, r_b = torch.linalg.qr(b * gates)
    q_a, r_a = torch.linalg.qr(a.mT)
    u, s, v_t = torch.linalg.svd(r_b @ r_a.mT)
    return q_b @ u, s, q_a @ v_t.mT


def _on_the_cpu(factors: Sequence[Factors]) -> list[Factors]:
    """Return the factors on the CPU; from an accelerator they come in one copy."""
    tensors = [t.detach() for pair in factors for t in pair]
    if any(t.device.type != "cpu" for t in tensors):
        sizes = [t.numel() for t in tensors]
        parts = torch.cat([t.reshape(-1) for t in tensors]).cpu().split(sizes)
        tensors = [part.view(t.shape) for part, t in zip(parts, tensors, strict=True)]
    return list(zip(tensors[::2], tensors[1::2], strict=True))


def _matrices(name: str, k: int, a: Tensor, b: Tensor) -> Factors:
    """Return A (k, in) and B (out, k) in float64 on the CPU."""
    if a.shape[0] != k or b.ndim < 2 or b.shape[1] != k or b[0, 0].numel() != 1:
        raise InputError(
            f"layer '{name}' does not have k = {k} components: A {tuple(a.shape)} must be "
            f"(k, in...), B {tuple(b.shape)} must be (out, k) or (out, k, 1, 1)"
        )
    a, b = (t.detach().to("cpu", torch.float64).flatten(1) for t in (a, b))
    if not (a.isfinite().all() and b.isfinite().all()):
        raise NotFinite(f"the factors of layer '{name}' {_NOT_FINITE}")
    return a, b
