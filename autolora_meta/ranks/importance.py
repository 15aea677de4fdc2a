"""What a search leaves behind for later allocations, and the scores of its components."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from autolora_meta.errors import InputError, unknown

_TENSORS = ("gates", "norm_u", "norm_v", "singular")


@dataclass(frozen=True, eq=False)
class Components:
    """The components of every searched layer: all that an allocation needs, and no weights.

    Layer l's update is c * sum_j gate_j u_j v_j^T: u_j is column j of B, v_j is row j of A.

    Args:
        names: full module names, relative to the base model, in the order of the model. (L,)
        costs: trainable parameters that one rank costs in each layer. (L,)
        scale: the constant c in front of B A.
        gates: weight of each component. (L, k)
        norm_u: norm of each column of B. (L, k)
        norm_v: norm of each row of A. (L, k)
        singular: singular values of c * B diag(gates) A, descending; zeros where the layer has
            fewer than k. (L, k)

    Raises:
        InputError: shapes do not agree, a name stands twice, or a cost is below 1.
    """

    names: tuple[str, ...]
    costs: tuple[int, ...]
    scale: float
    gates: Tensor
    norm_u: Tensor
    norm_v: Tensor
    singular: Tensor

    def __post_init__(self) -> None:
        shapes = {name: tuple(getattr(self, name).shape) for name in _TENSORS}
        layers = len(self.names)
        if len(set(shapes.values())) > 1 or self.gates.ndim != 2 or self.gates.shape[1] < 1:
            raise InputError(
                f"gates, norms and singular values need one shape (L, k); given {shapes}"
            )
        if not layers == len(self.costs) == self.gates.shape[0] or not layers:
            raise InputError(
                f"components need a name and a cost for each row; given {layers} names, "
                f"{len(self.costs)} costs and tensors of shape {shapes['gates']}"
            )
        if len(set(self.names)) < layers:
            raise InputError("components name each layer once; a name stands twice")
        if min(self.costs) < 1:
            raise InputError(f"a rank costs at least one parameter; given costs {self.costs}")

    @property
    def k(self) -> int:
        """Components of each layer."""
        return self.gates.shape[1]

    def scores(self, importance: str) -> Tensor:
        """The score of every component under a name from `IMPORTANCE`. float64, (L, k)

        For `singular`, component j is the j-th singular direction, not the j-th pair of factors.

        Raises:
            InputError: the name is unknown.
        """
        if importance not in IMPORTANCE:
            raise InputError(unknown("importance", importance, IMPORTANCE))
        return IMPORTANCE[importance].score(self).double()

    @classmethod
    def from_factors(
        cls,
        names: Sequence[str],
        costs: Sequence[int],
        scale: float,
        gates: Tensor,
        factors: Sequence[tuple[Tensor, Tensor]],
    ) -> "Components":
        """Measure the factors of each layer.

        Args:
            names: (L,)
            costs: (L,)
            scale: the constant c.
            gates: (L, k); the result keeps its dtype.
            factors: (A, B) of each layer: A (k, in) or (k, in, kh, kw), B (out, k) or
                (out, k, 1, 1).

        Raises:
            InputError: there is no layer, lengths differ, or factors do not have k components.
        """
        layers = len(factors)
        if gates.ndim != 2 or not 0 < gates.shape[0] == layers == len(names):
            raise InputError(
                f"gates need shape (layers, k) with at least one layer; given {tuple(gates.shape)} "
                f"for {len(names)} names and the factors of {layers} layers"
            )
        g = gates.detach().to("cpu", torch.float64)
        measured = [
            _measure(name, g_l, a, b, scale)
            for name, g_l, (a, b) in zip(names, g, factors, strict=True)
        ]
        norm_u, norm_v, singular = (
            torch.stack(column).to(gates.dtype) for column in zip(*measured, strict=True)
        )
        kept = gates.detach().to("cpu", copy=True)
        return cls(tuple(names), tuple(costs), float(scale), kept, norm_u, norm_v, singular)

    def save(self, path: str | Path) -> None:
        """Write one safetensors file. Equal components give equal bytes."""
        tensors = {name: getattr(self, name).contiguous() for name in _TENSORS}
        tensors["costs"] = torch.tensor(self.costs, dtype=torch.int64)
        # One metadata entry: safetensors writes several in an order that differs between runs.
        head = json.dumps({"names": self.names, "scale": self.scale})
        Path(path).write_bytes(save(tensors, metadata={"components": head}))

    @classmethod
    def load(cls, path: str | Path) -> "Components":
        """Read what `save` wrote.

        Raises:
            InputError: there is no such file, or it does not hold components.
        """
        try:
            with safe_open(path, framework="pt") as file:
                head = json.loads((file.metadata() or {})["components"])
                tensors = {name: file.get_tensor(name) for name in (*_TENSORS, "costs")}
            costs = tuple(int(c) for c in tensors.pop("costs"))
            return cls(tuple(head["names"]), costs, float(head["scale"]), **tensors)
        except FileNotFoundError:
            raise InputError(f"there is no file {path}; a search leaves one behind") from None
        except (SafetensorError, OSError, ValueError, KeyError, TypeError) as error:
            raise InputError(f"{path} does not hold the components of a search: {error}") from None


def _measure(
    name: str, gates: Tensor, a: Tensor, b: Tensor, scale: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Norms of columns of B and rows of A, singular values of c B diag(gates) A; float64, (k,)."""
    k = gates.shape[0]
    if a.shape[0] != k or b.ndim < 2 or b.shape[1] != k or b[0, 0].numel() != 1:
        raise InputError(
            f"layer '{name}' does not have k = {k} components: A {tuple(a.shape)} must be "
            f"(k, in...), B {tuple(b.shape)} must be (out, k) or (out, k, 1, 1)"
        )
    a = a.detach().to("cpu", torch.float64).flatten(1)  # (k, in)
    b = b.detach().to("cpu", torch.float64).flatten(1)  # (out, k)
    norm_u = torch.linalg.vector_norm(b, dim=0)
    norm_v = torch.linalg.vector_norm(a, dim=1)
    # B diag(g) = Q_b R_b, A^T = Q_a R_a  =>  sv(B diag(g) A) = sv(R_b R_a^T), at most k x k
    r_b = torch.linalg.qr(b * gates, mode="r").R
    r_a = torch.linalg.qr(a.T, mode="r").R
    values = abs(scale) * torch.linalg.svdvals(r_b @ r_a.T)
    return norm_u, norm_v, torch.nn.functional.pad(values, (0, k - len(values)))


@dataclass(frozen=True)
class Importance:
    """One way to score components: its name, what it says, where it is from, how it is computed."""

    name: str
    summary: str
    source: str
    score: Callable[[Components], Tensor]


def _alpha(c: Components) -> Tensor:
    return (
        c.gates.abs()
    )  # |alpha_j|: softmax and sigmoid gates are positive, free gates need not be


def _contribution(c: Components) -> Tensor:
    return (
        c.gates.abs() * c.norm_u * c.norm_v
    )  # |alpha_j| ||u_j|| ||v_j|| = ||alpha_j u_j v_j^T||_F


def _singular(c: Components) -> Tensor:
    return c.singular  # sigma_j(c B diag(alpha) A)


IMPORTANCE: dict[str, Importance] = {
    record.name: record
    for record in (
        Importance(
            "alpha",
            "size of the gate alone; gate and factors can trade scale, so it says little by itself",
            "AutoLoRA, arXiv 2403.09113, section 3.2",
            _alpha,
        ),
        Importance(
            "contribution",
            "norm of the gated component; does not change when gate and factors trade scale",
            "this project",
            _contribution,
        ),
        Importance(
            "singular",
            "singular values of the layer's gated update; does not depend on how it is factored",
            "with all gates equal: PARA, arXiv 2604.27796",
            _singular,
        ),
    )
}
