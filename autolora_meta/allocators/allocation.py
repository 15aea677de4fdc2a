"""Allocation: the ranks that an allocator chose, and what they cost."""

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor
from typing_extensions import TypedDict

from autolora_meta.allocators.replicate import Allocator, Replicate
from autolora_meta.allocators.scored import by_scores
from autolora_meta.errors import InputError
from autolora_meta.finetuning.start import Start
from autolora_meta.foundation.cost import Cost, StoredCost
from autolora_meta.foundation.device import threads
from autolora_meta.foundation.json_files import Count, Figure, Size, read_rows
from autolora_meta.foundation.memory import peak
from autolora_meta.foundation.sealed_lines import append
from autolora_meta.ranks.pattern import RankPattern

T = TypeVar("T")


@dataclass(frozen=True)
class Spent:
    """Cost of choosing ranks, once model and rows are loaded.

    Searches that the allocator names (`Allocator.searches`) and that ran before do not count: their
    results hold their own cost and seconds.

    Args:
        cost: forward, backward and double backward passes of the allocator itself.
        seconds: wall time.
        peak_memory: bytes by which memory rose above the loaded model: on CUDA what torch
            allocates, on Linux the resident set; None if nothing reliable is known.
    """

    cost: Cost
    seconds: float
    peak_memory: int | None


class _Stored(TypedDict):
    """What the file of a scoring holds."""

    scores: list[list[Figure]]
    cost: StoredCost
    seconds: Size
    peak_memory: Count | None


@dataclass(frozen=True)
class Scoring:
    """Scores that serve every budget (`Allocator.scores`), and what they cost.

    Args:
        scores: of the components of every layer. (L, k)
        spent: by the allocator itself.
    """

    scores: Tensor
    spent: Spent

    def save(self, path: Path) -> None:
        """Write it as one sealed line of JSON, in full precision."""
        append(path, {"scores": self.scores.tolist(), **asdict(self.spent)})

    @classmethod
    def load(cls, path: Path) -> "Scoring":
        """Read what `save` wrote.

        Raises:
            InputError: it is something else, or damaged.
        """
        lines = read_rows(path, _Stored, again="remove it, and it is measured again")
        rows = lines[0]["scores"] if len(lines) == 1 else []
        if len({len(row) for row in rows}) != 1 or not rows[0]:
            raise InputError(
                f"{path} holds no table of scores, layers by components; remove it, and it is "
                "measured again"
            )
        held = lines[0]
        spent = Spent(Cost(**held["cost"]), held["seconds"], held["peak_memory"])
        return cls(torch.tensor(rows, dtype=torch.float64), spent)


@dataclass(frozen=True)
class Allocation:
    """Ranks, and what they cost.

    Args:
        pattern: the ranks.
        spent: by the allocator itself.
        start: what it trained on the way, for the retraining to go on from; None: nothing.
    """

    pattern: RankPattern
    spent: Spent
    start: Start | None = None


def allocation(
    allocator: Allocator, replicate: Replicate, known: Scoring | None = None
) -> Allocation:
    """Let `allocator` choose the ranks of `replicate`, and count what that costs.

    Args:
        allocator: the allocator.
        replicate: one seed of a run.
        known: scores that it gave before (`scoring`); None: it scores anew.

    >>> allocation(allocator("para"), Replicate(config, seed=0)).spent.cost  # doctest: +SKIP
    Cost(forwards=150, backwards=150, double_backwards=0)
    """
    if known is not None:
        return Allocation(by_scores(replicate, known.scores), known.spent)
    if allocator.begins is not None:
        (pattern, start), spent = spending(allocator.begins, replicate)
        return Allocation(pattern, spent, start)
    return Allocation(*spending(allocator.allocate, replicate))


def scoring(allocator: Allocator, replicate: Replicate) -> Scoring:
    """Let `allocator` score the components of `replicate` once, for every budget.

    Args:
        allocator: one with `scores`.
        replicate: one seed of a run, at any budget.
    """
    assert allocator.scores is not None, f"{allocator.summary}: no scores"
    return Scoring(*spending(allocator.scores, replicate))


def spending(choose: Callable[[Replicate], T], replicate: Replicate) -> tuple[T, Spent]:
    """Return what `choose` returns, and what it cost."""
    device = replicate.config.runtime.resolved_device
    _ = replicate.prepared  # loading is no part of choosing
    before, replicate.cost = replicate.cost, Cost()
    try:
        with threads(replicate.config.runtime.threads), peak(device) as rose:
            started = time.perf_counter()
            chosen = choose(replicate)
            seconds = time.perf_counter() - started
        return chosen, Spent(replicate.cost, seconds, rose[0] if rose else None)
    finally:
        replicate.cost = before + replicate.cost
