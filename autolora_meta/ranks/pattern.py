"""RankPattern: how many rank-1 components each layer gets."""

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from numbers import Integral, Real
from pathlib import Path
from typing import Annotated

from pydantic import Field, StringConstraints
from typing_extensions import TypedDict

from autolora_meta.errors import InputError, shown
from autolora_meta.foundation import manifest
from autolora_meta.foundation.json_files import Count, read_json
from autolora_meta.foundation.places import replace_text

_AGAIN = "remove it, and write it again with `autolora-meta allocate RUN --output FILE`"


class _Layer(TypedDict):
    # As torch has them: parts without a dot, none of them empty.
    name: Annotated[str, StringConstraints(pattern=r"^[^.\x00-\x1f]+(\.[^.\x00-\x1f]+)*$")]
    rank: Count
    cost: Count


class _Stored(TypedDict):
    """What a file of a rank pattern holds; sums beside it follow from these."""

    k: Annotated[Count, Field(ge=1, le=2**14)]  # a colour for each is drawn
    scale: Annotated[float, Field(gt=0, allow_inf_nan=False)]
    layers: list[_Layer]


@dataclass(frozen=True)
class RankPattern:
    """Integer ranks for the layers of one model.

    Args:
        names: full module names, relative to the base model, in the order of the model. (L,)
        ranks: rank of each layer; 0: no adapter. (L,)
        costs: trainable parameters that one rank costs in each layer (in + out features). (L,)
        k: components each layer had in the search; the largest rank allowed.
        scale: the constant c in front of B A, the same in search and retrain: alpha_i = c * r_i.

    Raises:
        InputError: lengths differ, a name is repeated, a rank is negative or above k, a cost is
            below 1, or something is no such number.

    >>> pattern = RankPattern(("q", "v"), (2, 0), (768, 768), k=4, scale=2.0)
    >>> pattern.parameters, pattern.total_rank, pattern["q"]
    (1536, 2, 2)
    """

    names: tuple[str, ...]
    ranks: tuple[int, ...]
    costs: tuple[int, ...]
    k: int
    scale: float

    def __post_init__(self) -> None:
        if not len(self.names) == len(self.ranks) == len(self.costs):
            raise InputError(
                f"a rank pattern needs one rank and one cost for each name; given "
                f"{len(self.names)} names, {len(self.ranks)} ranks, {len(self.costs)} costs"
            )
        self._refuse_no_numbers()
        if len(set(self.names)) < len(self.names):
            raise InputError("a rank pattern names each layer once; a name stands twice")
        if any(cost < 1 for cost in self.costs):
            raise InputError(
                f"a rank costs at least one parameter; given costs {shown(self.costs)}"
            )
        wrong = {n: r for n, r in self if not 0 <= r <= self.k}
        if wrong:
            raise InputError(f"ranks must lie in 0..k = {shown(self.k)}; given {shown(wrong)}")

    def _refuse_no_numbers(self) -> None:
        wrong = [name for name in self.names if not isinstance(name, str) or not name]
        if wrong:
            raise InputError(f"a rank pattern holds names of layers; given {shown(wrong[0])}")
        for value in (*self.ranks, *self.costs, self.k):
            if not isinstance(value, Integral) or isinstance(value, bool):
                raise InputError(f"ranks, costs and k are whole numbers; given {shown(value)}")
        scale = self.scale
        if isinstance(scale, bool) or not (
            isinstance(scale, Real) and -math.inf < scale < math.inf
        ):
            raise InputError(f"the scale is a finite number; given {shown(scale)}")

    def __iter__(self) -> Iterator[tuple[str, int]]:
        return iter(zip(self.names, self.ranks, strict=True))

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, name: str) -> int:
        return dict(self)[name]

    @property
    def parameters(self) -> int:
        """Trainable parameters of the adapter, head excluded."""
        return sum(r * c for r, c in zip(self.ranks, self.costs, strict=True))

    @property
    def total_rank(self) -> int:
        """Sum of the ranks over the layers."""
        return sum(self.ranks)

    def with_ranks(self, ranks: Sequence[int]) -> "RankPattern":
        """Return the same layers with other ranks. (L,)"""
        return replace(self, ranks=tuple(int(r) for r in ranks))

    def to_json(self) -> str:
        """Return a JSON object: k, scale, parameters, and a row for each layer."""
        layers = [
            {"name": n, "rank": r, "cost": c}
            for n, r, c in zip(self.names, self.ranks, self.costs, strict=True)
        ]
        head = {"k": self.k, "scale": self.scale, "parameters": self.parameters}
        return json.dumps({**head, "total_rank": self.total_rank, "layers": layers}, indent=2)

    def save(self, path: str | Path) -> None:
        """Write `to_json` to `path`, and its hash into the manifest that names it, if one does."""
        path = Path(path)
        with manifest.sealing_again(path):
            replace_text(path, self.to_json() + "\n")

    @classmethod
    def load(cls, path: str | Path) -> "RankPattern":
        """Read what `save` wrote.

        Raises:
            InputError: there is no such file, it is not a rank pattern, or it is damaged.
        """
        path = Path(path)
        if not path.exists():
            raise InputError(f"there is no file {path}; a run leaves its pattern in ranks.json")
        manifest.refuse_damaged(path.parent, _AGAIN, path.name)
        held = read_json(path, _Stored, what="is not a rank pattern", again=_AGAIN)
        layers = held["layers"]
        try:
            return cls(
                names=tuple(layer["name"] for layer in layers),
                ranks=tuple(layer["rank"] for layer in layers),
                costs=tuple(layer["cost"] for layer in layers),
                k=held["k"],
                scale=held["scale"],
            )
        except InputError as error:
            raise InputError(f"{path} is not a rank pattern: {error}; {_AGAIN}") from None
