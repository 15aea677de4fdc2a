"""The patterns that enter a race: each way to choose ranks that is cheap, or already paid for."""

import logging
from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from autolora_meta.allocators.eva import explained_variance
from autolora_meta.allocators.replicate import Replicate
from autolora_meta.allocators.scored import by_scores
from autolora_meta.allocators.uniform import allocate as uniform
from autolora_meta.errors import InputError, WorkFailed
from autolora_meta.ranks.budget import Budget
from autolora_meta.ranks.options import bounds
from autolora_meta.ranks.pattern import RankPattern
from autolora_meta.ranks.place import Place
from autolora_meta.ranks.rules import uniform_pattern

_LOG = logging.getLogger("autolora_meta")
UNIFORM = "uniform"


def entrants(replicate: Replicate) -> dict[str, RankPattern]:
    """Return name -> ranks at the replicate's budget, uniform ones first; equal patterns once."""
    found = {UNIFORM: uniform(replicate)}
    for name, pattern in [*_by_place(replicate), *_by_signal(replicate)]:
        if pattern not in found.values():
            found[name] = pattern
    return found


def _by_place(replicate: Replicate) -> Iterator[tuple[str, RankPattern]]:
    """Yield uniform ranks in a part of the layers, where that part can take the whole budget."""
    (names, costs), lora = replicate.layers, replicate.config.lora
    least, most = bounds(lora.k, replicate.config.ranks)
    if least:  # no layer may be left out
        return
    limit, units = replicate.budget.checked_limit(costs)
    budget = Budget(limit) if units == tuple(costs) else replicate.budget
    for name, inside in parts(names).items():
        chosen = [i for i, own in enumerate(inside) if own]
        room = most * sum(units[i] for i in chosen)
        if not min(units[i] for i in chosen) <= limit <= room:
            continue
        own_costs = [costs[i] for i in chosen]
        own = uniform_pattern(
            [names[i] for i in chosen], own_costs, lora.k, lora.scale, budget, most
        )
        ranks = [0] * len(names)
        for i, rank in zip(chosen, own.ranks, strict=True):
            ranks[i] = rank
        yield name, RankPattern(names, tuple(ranks), costs, lora.k, lora.scale)


def parts(names: tuple[str, ...]) -> dict[str, list[bool]]:
    """Return name of a part -> whether each layer is in it; only parts that are not all or nothing.

    A kind of module is what stands behind the number of its block ("attention.query"); modules
    outside any block are of the kind of their own name. Attention is known by its name.

    >>> parts(("layer.0.attention.q", "layer.0.mlp.up", "pooler"))["attention only"]
    [True, False, False]
    """
    places = [Place.of(name) for name in names]
    kinds = dict.fromkeys((place.stack, place.kind) for place in places)
    found = {
        f"no {kind if _of_one_stack(kind, kinds) else f'{stack} {kind}'}": [
            (place.stack, place.kind) != (stack, kind) for place in places
        ]
        for stack, kind in kinds
    }
    inside = [place.block is not None for place in places]
    attention = [
        "attn" in place.kind.lower() or "attention" in place.kind.lower() for place in places
    ]
    found["attention only"] = [a and b for a, b in zip(attention, inside, strict=True)]
    found["feed-forward only"] = [not a and b for a, b in zip(attention, inside, strict=True)]
    depth = {
        place.stack: 1 + max(p.block or 0 for p in places if p.stack == place.stack)
        for place in places
    }
    upper = [p.block is not None and 2 * p.block >= depth[p.stack] for p in places]
    found["upper half"] = upper
    found["lower half"] = [not u and b for u, b in zip(upper, inside, strict=True)]
    return {name: own for name, own in found.items() if any(own) and not all(own)}


def _of_one_stack(kind: str, kinds: dict[tuple[str, str], None]) -> bool:
    """Return whether one stack alone has this kind."""
    return sum(kind == other for _, other in kinds) == 1


def _by_signal(replicate: Replicate) -> Iterator[tuple[str, RankPattern]]:
    """Yield ranks by EVA, by plain LoRA's spectrum, by the learned search, and by mixtures."""
    plain = replicate.search("plain")
    learned = replicate.search("learned").with_spectrum(plain).components
    spectrum = plain.components.scores("singular")
    scores: dict[str, Callable[[], Tensor]] = {
        "spectrum": lambda: spectrum,
        "learned, layered": lambda: learned.scores("layered"),
        "learned, product": lambda: learned.scores("product"),
        "learned, singular": lambda: learned.scores("singular"),
    }
    for name, given in scores.items():
        yield name, by_scores(replicate, given())
    try:
        variance = explained_variance(replicate)
    except WorkFailed:
        raise
    except InputError as refused:
        _LOG.info("the race goes without eva: %s", refused)
        return
    yield "eva", by_scores(replicate, variance)
    yield (
        "eva x spectrum",
        by_scores(replicate, variance.clamp_min(0).sqrt() * sorted_scores(spectrum)),
    )


def sorted_scores(scores: Tensor) -> Tensor:
    """Return the scores of each layer in descending order. (L, k) float64"""
    return torch.sort(scores.double(), dim=-1, descending=True).values
