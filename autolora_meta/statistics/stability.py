"""Stability: whether several searches agree on the order of the layers better than chance."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import rankdata

from autolora_meta.errors import InputError
from autolora_meta.ranks.components import Components
from autolora_meta.ranks.options import RankOptions
from autolora_meta.ranks.place import Place
from autolora_meta.ranks.rules import allocate

MIN_SEARCHES = 3  # fewer allow no claim
LEVEL = 0.05  # below this p the layers are not exchangeable
SMALL = 3  # two layers can be ordered in two ways only, which says next to nothing
OTHER = "other"


@dataclass(frozen=True)
class Agreement:
    """Agreement of searches on the order of the layers of each kind.

    Args:
        types: kind of layer -> Kendall's W, from 0 (no agreement) to 1 (one order); None if no
            search tells the layers of that kind apart.
        w: mean of these, weighted by layers; None if all are None.
        p: share of random orders that agree as well; 1 if no layers are told apart.
    """

    types: dict[str, float | None]
    w: float | None
    p: float


@dataclass(frozen=True)
class Stability:
    """Agreement of several searches, and what may be claimed of it.

    Args:
        count: number of searches.
        over: "searches" of one split, or "replicates", which differ in their split too.
        ranks: agreement of the allocated ranks.
        importance: agreement of the layers' total scores.
        left_out: layers of kinds with too few layers to compare.
    """

    count: int
    over: str
    ranks: Agreement
    importance: Agreement
    left_out: int = 0

    @property
    def distinguishable(self) -> bool:
        """Whether the ranks agree better than chance, over at least 3 searches."""
        return self.count >= MIN_SEARCHES and self.ranks.p < LEVEL

    def sentence(self) -> str:
        """Return what can be said of the ranks, and what cannot."""
        if self.count < MIN_SEARCHES:
            number = "One search" if self.count == 1 else "Two searches"
            if self.over == "replicates":
                number = "One replicate" if self.count == 1 else "Two replicates"
            mend = "compare.replicates" if self.over == "replicates" else "search.seeds"
            return (
                f"{number} cannot show whether the learned ranks are distinguishable from noise; "
                f"set {mend} to {MIN_SEARCHES} or more."
            )
        if not self.ranks.types:
            return (
                f"{self.left_out} layers are too few to tell agreement from chance: at least "
                f"{SMALL} are needed."
            )
        where = f"over {self.count} {self.over}"
        if self.ranks.w is None:
            return (
                f"The learned ranks tell no layer from another of its kind {where}: "
                "they are not distinguishable from noise."
            )
        figures = f"Kendall's W = {self.ranks.w:.2f}, p = {self.ranks.p:.4f}"
        if self.importance.w is not None:
            # Where a budget leaves most ranks equal, the scores behind them still have an order.
            figures += f"; of importance W = {self.importance.w:.2f}, p = {self.importance.p:.4f}"
        if self.left_out:
            figures += f"; {self.left_out} of a kind of their own left out"
        agree, verdict = "agree", "are distinguishable"
        if not self.distinguishable:
            agree, verdict = "do not agree better than chance", "are not distinguishable"
        return f"The learned ranks {agree} {where} ({figures}): they {verdict} from noise."

    def written(self) -> dict[str, Any]:
        """Return the object that JSON holds."""
        return asdict(self)

    @classmethod
    def read(cls, given: Mapping[str, Any]) -> "Stability":
        """Read what `written` returned."""
        agreements = {key: Agreement(**given[key]) for key in ("ranks", "importance")}
        return cls(**{**given, **agreements})


def stability(
    searches: Sequence[Components], options: RankOptions, *, over: str = "searches"
) -> Stability:
    """Return the agreement of searches of the same layers, by ranks and by importance.

    Args:
        searches: components of each search.
        options: how scores and ranks are read.
        over: `searches` or `replicates`, for the sentence.

    Raises:
        InputError: there is no search, or the options do not fit.

    >>> stability([result.components for result in results], RankOptions())  # doctest: +SKIP
    """
    if not searches:
        raise InputError("there is no search to speak of; give at least one")
    names, costs = searches[0].names, searches[0].costs
    groups = layer_groups(names, costs)
    ranks = [allocate(c, options).ranks for c in searches]
    totals = [c.scores(options.importance).sum(dim=1).numpy() for c in searches]
    compared = sum(map(len, groups.values()))
    left_out = len(names) - compared
    return Stability(
        len(searches), over, agreement(ranks, groups), agreement(totals, groups), left_out
    )


def layer_groups(names: Sequence[str], costs: Sequence[int]) -> dict[str, list[int]]:
    """Group layers by kind: the same name after the block's number, and the same cost.

    Kinds of fewer than 3 layers are grouped as `other`, which is left out if it has fewer than 3.
    In `other`, a difference between kinds counts as agreement too.

    >>> layer_groups([f"layer.{i}.{n}" for i in range(3) for n in "qv"], [8] * 6)
    {'q': [0, 2, 4], 'v': [1, 3, 5]}
    """
    kinds: dict[tuple[str, int], list[int]] = {}
    for layer, (name, cost) in enumerate(zip(names, costs, strict=True)):
        place = Place.of(name)
        kind = name if place.block is None else place.kind
        kinds.setdefault((kind, cost), []).append(layer)
    several = {key: layers for key, layers in kinds.items() if len(layers) >= SMALL}
    labels = [kind for kind, _ in several]
    groups = {
        kind if labels.count(kind) == 1 else f"{kind} ({cost:,} parameters a rank)": layers
        for (kind, cost), layers in several.items()
    }
    rest = sorted(layer for key in kinds.keys() - several.keys() for layer in kinds[key])
    return groups | ({OTHER: rest} if len(rest) >= SMALL else {})


def agreement(
    values: ArrayLike, groups: Mapping[str, Sequence[int]], *, draws: int = 10_000, seed: int = 0
) -> Agreement:
    """Return Kendall's W in each group of layers, and a permutation test over all groups.

    Kendall's coefficient of concordance, corrected for ties, is

        W = 12 S / (m^2 (n^3 - n) - m sum_i T_i),  S = sum_l (R_l - mean R)^2,

    R_l being the sum over the m searches of the rank of layer l among n, and T_i = sum (t^3 - t)
    over the ties of t layers in search i: 1 where all agree, None where none tells layers apart.

    The null: within a group the layers are exchangeable, in each search by itself. So in each
    draw the layers of each group are permuted in each search independently, and

        p = (1 + #{draws whose mean W reaches the one found}) / (1 + draws).

    Args:
        values: rank or score of each layer in each search. (m, L)
        groups: name -> places of its layers.
        draws: permutations.
        seed: of the permutations.

    Source: Kendall, Rank Correlation Methods, chapter 6. W = chi2 / (m (n - 1)) with Friedman's.
    """
    table = np.asarray(values, dtype=float)
    draw = np.random.default_rng(seed)
    types: dict[str, float | None] = {}
    found, by_chance, layers = 0.0, np.zeros(draws), 0
    for name, members in groups.items():
        places, most = _places(table[:, list(members)])  # (m, n)
        types[name] = float(_spread(places) / most) if most else None
        if not most:
            continue
        layers += len(members)
        found += len(members) * _spread(places) / most
        for start in range(0, draws, 1000):  # a thousand at a time bounds the memory
            part = by_chance[start : start + 1000]
            mixed = draw.permuted(np.broadcast_to(places, (len(part), *places.shape)), axis=-1)
            part += len(members) * _spread(mixed) / most
    if not layers:
        return Agreement(types, None, 1.0)
    reached = int((by_chance >= found - 1e-9 * layers).sum())
    return Agreement(types, float(found / layers), (1 + reached) / (1 + draws))


def _places(values: NDArray[np.float64]) -> tuple[NDArray[np.float64], float]:
    """Return the ranks of the layers in each search, ties averaged (m, n), and the largest S."""
    m, n = values.shape
    places = rankdata(values, axis=1)
    ties = sum((t**3 - t).sum() for t in (np.unique(row, return_counts=True)[1] for row in places))
    return places, (m**2 * (n**3 - n) - m * float(ties)) / 12


def _spread(places: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return S = sum_l (R_l - mean R)^2. (..., m, n) -> (...)"""
    sums = places.sum(axis=-2)
    return ((sums - sums.mean(axis=-1, keepdims=True)) ** 2).sum(axis=-1)
