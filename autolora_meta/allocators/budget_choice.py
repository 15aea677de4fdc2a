"""How much rank at all: the smallest budget whose adapters are as good as those of the best."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from torch import Tensor
from typing_extensions import TypedDict

from autolora_meta.allocators.allocation import Spent, spending
from autolora_meta.allocators.replicate import Replicate
from autolora_meta.config.run import RunConfig
from autolora_meta.errors import InputError
from autolora_meta.foundation.cost import Cost, StoredCost
from autolora_meta.foundation.json_files import Count, Figure, Size, read_rows
from autolora_meta.foundation.sealed_lines import append
from autolora_meta.pipeline.cross_fit import FOLDS, Candidate, cross_fit
from autolora_meta.ranks.budget import Budget, grid
from autolora_meta.ranks.options import bounds
from autolora_meta.ranks.pattern import RankPattern
from autolora_meta.statistics.one_standard_error import smallest_as_good

_LOST = (None, None, None)  # figures of a retraining that lost its way


@dataclass(frozen=True)
class Tried:
    """A budget of the grid.

    Args:
        name: for people.
        budget: as `ranks.budget` takes it.
        parameters: of the ranks at it.
        loss: mean over rows; None where a retraining lost its way.
        difference: that minus the loss of the best; None as `loss`.
        standard_error: of the difference, paired over rows; None as `loss`.
    """

    name: str
    budget: int | str
    parameters: Count
    loss: Figure | None
    difference: Figure | None
    standard_error: Size | None


class _Stored(TypedDict):
    """What the file of a choice holds."""

    tried: list[Tried]
    chosen: Count
    best: Count
    seed: Count
    rows: Count
    cost: StoredCost
    seconds: Size
    peak_memory: Count | None


@dataclass(frozen=True)
class BudgetChoice:
    """The budget that was chosen, and among which.

    Args:
        tried: budgets, rising.
        chosen: the number of the one that was chosen.
        best: the number of the one with the lowest loss.
        seed: of the replicate whose rows and search decided.
        rows: training and validation rows, each scored by adapters that did not see it.
        spent: by the retrainings and their scoring, the search aside.
    """

    tried: tuple[Tried, ...]
    chosen: int
    best: int
    seed: int
    rows: int
    spent: Spent

    @property
    def budget(self) -> Budget:
        """The budget that was chosen."""
        return Budget(self.tried[self.chosen].budget)

    def save(self, path: Path) -> None:
        """Write it as one sealed line of JSON, in full precision."""
        held = asdict(self)
        append(path, held | held.pop("spent"))

    @classmethod
    def load(cls, path: Path) -> "BudgetChoice":
        """Read what `save` wrote.

        Raises:
            InputError: it is something else, or damaged.
        """
        again = "remove it, and the same command chooses the budget again"
        lines = read_rows(path, _Stored, again=again)
        count = len(lines[0]["tried"]) if len(lines) == 1 else 0
        if not count or max(lines[0]["chosen"], lines[0]["best"]) >= count:
            raise InputError(f"{path} holds no choice among budgets; {again}")
        held = lines[0]
        spent = Spent(Cost(**held["cost"]), held["seconds"], held["peak_memory"])
        about = {key: held[key] for key in ("chosen", "best", "seed", "rows")}
        return cls(tuple(held["tried"]), **about, spent=spent)


def choose_budget(replicate: Replicate) -> BudgetChoice:
    """Choose the smallest budget of the grid whose cross-fitted loss is as good as the best.

    The ranks at each budget follow from the learned search of the replicate. Their adapters are
    retrained on all folds of training and validation rows but one, and scored on that one. The
    search has seen these rows, and the same search serves every budget. Test rows are not touched.

    Args:
        replicate: the first of a run, at any budget.

    Raises:
        InputError: a retraining is refused, there are fewer rows than folds, or no retraining has
            ended with a finite loss.
    """
    budgets = candidates(replicate)
    losses, spent = spending(lambda each: _scored(each, budgets), replicate)
    judged = smallest_as_good(losses)
    figures = zip(judged.losses, judged.differences, judged.standard_errors, strict=True)
    tried = tuple(
        Tried(name, budget.root, pattern.parameters, *(each if math.isfinite(each[0]) else _LOST))
        for (name, (budget, pattern)), each in zip(budgets.items(), figures, strict=True)
    )
    chosen, best, rows = judged.chosen, judged.best, losses.shape[1]
    return BudgetChoice(tried, chosen, best, replicate.seed, rows, spent)


def _scored(replicate: Replicate, budgets: Mapping[str, tuple[Budget, RankPattern]]) -> Tensor:
    """Return the loss at each budget of each row that holds something to predict. (B, n)"""
    config = replicate.config
    found = cross_fit(
        config,
        replicate.prepared,
        replicate.seed,
        [Candidate(name, pattern, config.retrain) for name, (_, pattern) in budgets.items()],
        folds=FOLDS,
        progress=replicate.progress,
    )
    replicate.cost += found.cost
    return found.losses[:, ~found.losses.isnan().any(dim=0)]


def candidates(replicate: Replicate) -> dict[str, tuple[Budget, RankPattern]]:
    """Return name -> budget and its ranks, rising (`ranks.budget.grid`)."""
    result, ranks = replicate.search("learned"), replicate.config.ranks
    least, most = bounds(replicate.config.lora.k, ranks)
    budgets = grid(result.components.costs, least, most)
    return {name: (each, result.allocate(budget=each.root)) for name, each in budgets.items()}


def choice_work(config: RunConfig) -> float:
    """Return the most that the choice costs, the search aside, in plain steps."""
    least, most = bounds(config.lora.k, config.ranks)
    return float(FOLDS * config.retrain.steps * len(grid((1,) * 4, least, most)))
