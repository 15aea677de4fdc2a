"""Components of a search: gates, norms and spectra of its layers, in memory and on disk."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from autolora_meta.errors import InputError, unknown
from autolora_meta.foundation.places import replace_bytes
from autolora_meta.foundation.reading import refuse_special
from autolora_meta.ranks.directions import (
    Factors,
    norms_and_singular_values,
    norms_and_singular_values_of_several,
)
from autolora_meta.ranks.importance import IMPORTANCE

_TENSORS = ("gates", "norm_u", "norm_v", "singular")
_OPTIONAL = ("sensitivity", "spectrum")


@dataclass(frozen=True, eq=False)
class Components:
    """The components of every searched layer: what an allocation needs, without weights.

    Layer l's update is c * sum_j gate_j u_j v_j^T: u_j is column j of B, v_j is row j of A.

    Several searches of the same layers can be pooled. Every tensor then has a first axis of S
    searches, (S, L, k).

    Args:
        names: full module names, relative to the base model, in the order of the model. (L,)
        costs: trainable parameters that one rank costs in each layer. (L,)
        scale: the constant c in front of B A.
        gates: weight of each component. (L, k)
        norm_u: norm of each column of B. (L, k)
        norm_v: norm of each row of A. (L, k)
        singular: singular values of c * B diag(gates) A, descending; missing ones are 0. (L, k)
        sensitivity: rise of the validation loss when the j-th singular direction is removed; None
            if it was not measured. (L, k)
        spectrum: singular values of c * B A after a plain training on training and validation rows,
            descending; None if there was none. (L, k)

    Raises:
        InputError: shapes do not agree, a name is repeated, or a cost is below 1.
    """

    names: tuple[str, ...]
    costs: tuple[int, ...]
    scale: float
    gates: Tensor
    norm_u: Tensor
    norm_v: Tensor
    singular: Tensor
    sensitivity: Tensor | None = None
    spectrum: Tensor | None = None

    def __post_init__(self) -> None:
        shapes = {name: tuple(tensor.shape) for name, tensor in self._tensors.items()}
        layers = len(self.names)
        if len(set(shapes.values())) > 1 or self.gates.ndim not in (2, 3) or self.k < 1:
            raise InputError(
                "gates, norms, singular values, sensitivity and spectrum need one shape, (L, k) "
                f"or, of several searches, (S, L, k); given {shapes}"
            )
        if not layers == len(self.costs) == self.gates.shape[-2] or not layers:
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
        return self.gates.shape[-1]

    @property
    def _tensors(self) -> dict[str, Tensor]:
        tensors = {name: getattr(self, name) for name in (*_TENSORS, *_OPTIONAL)}
        return {name: tensor for name, tensor in tensors.items() if tensor is not None}

    @property
    def searches(self) -> tuple["Components", ...]:
        """The components of each pooled search, or these alone."""
        if self.gates.ndim == 2:
            return (self,)
        each = [{n: t[s] for n, t in self._tensors.items()} for s in range(len(self.gates))]
        return tuple(replace(self, **tensors) for tensors in each)

    def scores(self, importance: str) -> Tensor:
        """Return the score of every component under a name from `IMPORTANCE`. float64, (L, k)

        Component j is the j-th singular direction for `singular`, `sensitivity` and `layered`, and
        the j-th place in the layer for `product`; else the j-th pair of factors.

        In pooled searches, j is the place in the layer: the scores of each search are sorted within
        each layer, divided by their mean size, and averaged over the searches. The third best of a
        layer can be compared between searches, its third pair of factors cannot; and no search
        counts for more because its scores are larger.

        Raises:
            InputError: the name is unknown, or what it needs was not measured.
        """
        if importance not in IMPORTANCE:
            raise InputError(unknown("importance", importance, IMPORTANCE))
        scores = IMPORTANCE[importance].score(self).double()
        if scores.ndim == 2:
            return scores
        ordered = scores.sort(dim=-1, descending=True).values  # (S, L, k)
        size = ordered.abs().mean(dim=(1, 2), keepdim=True)
        # s_lj = (1/S) sum_S s^S_l(j) / mean |s^S|; a search whose scores are all 0 says nothing
        return (ordered / torch.where(size > 0, size, 1.0)).mean(dim=0)

    @classmethod
    def pooled(cls, searches: Sequence["Components"]) -> "Components":
        """Pool searches of the same layers.

        Raises:
            InputError: there is none, or they are of different layers.
        """
        if not searches or len({(c.names, c.costs, c.scale, c.gates.shape) for c in searches}) > 1:
            raise InputError("only searches of the same layers, k and scale can be pooled")
        shared = set.intersection(*(set(c._tensors) for c in searches))
        stacked = {n: torch.stack([getattr(c, n) for c in searches]) for n in shared}
        return replace(searches[0], **{**dict.fromkeys(_OPTIONAL), **stacked})

    @classmethod
    def from_factors(
        cls,
        names: Sequence[str],
        costs: Sequence[int],
        scale: float,
        gates: Tensor,
        factors: Sequence[Factors],
        sensitivity: Tensor | None = None,
        spectrum: Tensor | None = None,
    ) -> "Components":
        """Build components from the factors of each layer.

        Args:
            names: (L,)
            costs: (L,)
            scale: the constant c.
            gates: (L, k); the result keeps its dtype.
            factors: (A, B) of each layer: A (k, in) or (k, in, kh, kw), B (out, k) or
                (out, k, 1, 1).
            sensitivity: if it was measured. (L, k)
            spectrum: of a plain search, if there was one. (L, k)

        Raises:
            InputError: there is no layer, lengths differ, or factors do not have k components.
        """
        layers = len(factors)
        if gates.ndim != 2 or not 0 < gates.shape[0] == layers == len(names):
            raise InputError(
                f"gates need shape (layers, k) with at least one layer; given {tuple(gates.shape)} "
                f"for {len(names)} names and the factors of {layers} layers"
            )
        taken = norms_and_singular_values(names, gates, factors, scale)
        u, v, singular = (t.to(gates.dtype) for t in taken)
        kept = gates.detach().to("cpu", copy=True)
        own = kept, u, v, singular, sensitivity, spectrum
        return cls(tuple(names), tuple(costs), float(scale), *own)

    @classmethod
    def of_several(
        cls,
        names: Sequence[str],
        costs: Sequence[int],
        scale: float,
        gates: Tensor,
        factors: Sequence[Factors],
    ) -> list["Components"]:
        """Build those of R searches of the same layers at once, to follow them: in less time, and
        with small singular values less exact. What is not finite counts as 0.

        Args:
            names, costs, scale: as of `from_factors`.
            gates: (R, L, k)
            factors: of each layer, A (R, k, in...) and B (R, out, k...).
        """
        taken = norms_and_singular_values_of_several(gates, factors, scale)
        kept = gates.detach().cpu().nan_to_num(0, 0, 0)
        each = zip(kept, *(t.to(kept.dtype) for t in taken), strict=True)
        return [cls(tuple(names), tuple(costs), float(scale), *own) for own in each]

    def save(self, path: str | Path) -> None:
        """Write one safetensors file. Equal components give equal bytes."""
        tensors = {name: tensor.contiguous() for name, tensor in self._tensors.items()}
        tensors["costs"] = torch.tensor(self.costs, dtype=torch.int64)
        # One metadata entry: safetensors writes several in an order that differs between runs.
        head = json.dumps({"names": self.names, "scale": self.scale})
        replace_bytes(Path(path), save(tensors, metadata={"components": head}))

    @classmethod
    def load(cls, path: str | Path) -> "Components":
        """Read what `save` wrote.

        Raises:
            InputError: there is no such file, or it does not hold components.
        """
        try:
            refuse_special(Path(path))
            with safe_open(path, framework="pt") as file:
                head = json.loads((file.metadata() or {})["components"])
                optional = set(_OPTIONAL) & set(file.keys())
                tensors = {n: file.get_tensor(n) for n in (*_TENSORS, "costs", *optional)}
            costs = tuple(int(c) for c in tensors.pop("costs"))
            return cls(tuple(head["names"]), costs, float(head["scale"]), **tensors)
        except FileNotFoundError:
            raise InputError(f"there is no file {path}; a search leaves one behind") from None
        except (SafetensorError, OSError, ValueError, KeyError, TypeError) as error:
            raise InputError(f"{path} does not hold the components of a search: {error}") from None
