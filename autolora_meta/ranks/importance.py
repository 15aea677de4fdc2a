"""Importance: the scores that rank the components of a search."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch import Tensor

from autolora_meta.errors import InputError

if TYPE_CHECKING:
    from autolora_meta.ranks.components import Components


@dataclass(frozen=True)
class Importance:
    """One way to score components: its name, its meaning, its source, its formula.

    `plain` says that it reads the spectrum of a plain search.
    """

    name: str
    summary: str
    source: str
    score: Callable[["Components"], Tensor]
    plain: bool = False


def _alpha(c: "Components") -> Tensor:
    return (
        c.gates.abs()
    )  # |alpha_j|: softmax and sigmoid gates are positive, free gates need not be


def _contribution(c: "Components") -> Tensor:
    return (
        c.gates.abs() * c.norm_u * c.norm_v
    )  # |alpha_j| ||u_j|| ||v_j|| = ||alpha_j u_j v_j^T||_F


def _singular(c: "Components") -> Tensor:
    return c.singular  # sigma_j(c B diag(alpha) A)


def _product(c: "Components") -> Tensor:
    # sqrt(contribution_(j) sigma_j), each sorted within its layer; both are sizes of a rank-1 part
    contribution = _contribution(c).sort(dim=-1, descending=True).values
    return (contribution.double() * c.singular.double()).sqrt()


def _sensitivity(c: "Components") -> Tensor:
    if c.sensitivity is None:
        raise InputError(
            "importance 'sensitivity' was not measured in this search; search again with "
            "search.sensitivity_batches above 0, or take another importance"
        )
    return c.sensitivity


def _layered(c: "Components") -> Tensor:
    if c.spectrum is None:
        raise InputError(
            "importance 'layered' needs the spectrum of a plain training on all rows, which this "
            "search does not have; search again with ranks.importance layered, or take another "
            "importance"
        )
    # s_lj = mean_i |alpha_li| sigma_j(c B A of the plain training)
    return c.gates.abs().double().mean(dim=-1, keepdim=True) * c.spectrum.double()


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
        Importance(
            "product",
            "geometric mean of a layer's sorted contributions and its singular values; as good as "
            "the better of the two on planted ranks (docs/ranks.md)",
            "this project",
            _product,
        ),
        Importance(
            "sensitivity",
            "rise of the validation loss when a singular direction of the gated update is removed; "
            "measured at the end of the search, on search.sensitivity_batches",
            "this project",
            _sensitivity,
        ),
        Importance(
            "layered",
            "mean gate of the layer times the singular values of a plain LoRA trained on training "
            "and validation rows without decay: gates say how much a layer gets, the spectrum "
            "where it stops; costs that training beside the search",
            "this project",
            _layered,
            plain=True,
        ),
    )
}
