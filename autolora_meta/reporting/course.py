"""Course: how the searches with learned gates went, over the seeds of one point of a study."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from autolora_meta.bilevel.watch import STOPPED_EARLY
from autolora_meta.config.run import CHANGED, RunConfig
from autolora_meta.foundation import manifest
from autolora_meta.pipeline.result import SearchResult
from autolora_meta.reporting.markdown import ranks_table
from autolora_meta.statistics.stability import Stability, stability
from autolora_meta.studies.labels import words
from autolora_meta.studies.table import StudyTable

LEARNED = "learned"
WHAT_TO_CHANGE = (
    "Raise search.warmup_steps, try another search.inner.learning_rate, or lower "
    "search.inner.weight_decay."
)  # where a search has learned nothing


@dataclass(frozen=True)
class Solved:
    """How a solver that iterates went, over all outer steps.

    Args:
        iterations: their median.
        damping: of the solver; None where it has none.
        stopped_early: share of outer steps at which it met negative curvature or diverged.
    """

    iterations: int
    damping: float | None
    stopped_early: float


@dataclass(frozen=True)
class Blind:
    """Searches whose loss is no better than that of an answer which does not look at its input.

    Args:
        count: how many.
        loss: their mean validation loss.
        blind_loss: that of the blind answer.
    """

    count: int
    loss: float
    blind_loss: float


@dataclass(frozen=True)
class Course:
    """How searches went; figures of hypergradients are medians over all outer steps of all.

    Args:
        method: of the hypergradient.
        searches: how many there were.
        implicit_share: implicit norm over direct norm, before a balanced weight; None without one.
        balanced: the implicit part was made as long as the direct one.
        solved: None where the method does not iterate.
        settled: with `search.patience`, the outer step at which each that ended early did.
        blind: None where all have learned something.
        stability: of the ranks over the replicates.
    """

    method: str
    searches: int
    implicit_share: float | None
    balanced: bool
    solved: Solved | None
    settled: tuple[int, ...] | None
    blind: Blind | None
    stability: Stability

    @classmethod
    def of(cls, config: RunConfig, results: Sequence[SearchResult]) -> "Course":
        """Return the course of the searches of one point, one result a replicate."""
        each = [search for result in results for search in result.searches]
        rows = [row for search in each for row in search.rows]
        shares = [r["implicit_norm"] / r["direct_norm"] for r in rows if r.get("direct_norm")]
        iterated = [row for row in rows if row.get("stopped", "exact") != "exact"]
        solver, solved, settled, blind = config.search.hypergradient.solver, None, None, None
        if iterated:
            solved = Solved(
                statistics.median_low(row["iterations"] for row in iterated),
                getattr(solver, "damping", getattr(solver, "rho", None)),
                statistics.fmean(row["stopped"] in STOPPED_EARLY for row in iterated),
            )
        if config.search.patience is not None:
            settled = tuple(search.rows[-1]["outer_step"] for search in each if search.settled)
        if nothing := [search for search in each if search.blind]:
            blind = Blind(
                len(nothing),
                statistics.fmean(search.reached for search in nothing),
                statistics.fmean(search.blind_loss or 0.0 for search in nothing),
            )
        return cls(
            config.search.hypergradient.method,
            len(each),
            statistics.median(shares) if shares else None,
            config.search.hypergradient.weight == "balanced",
            solved,
            settled,
            blind,
            stability([r.components for r in results], config.ranks, over="replicates"),
        )

    def sentences(self) -> list[str]:
        """Return how the searches went, and how far their ranks agree."""
        return [self._hypergradient(), *self._early(), self.stability.sentence()]

    def warnings(self) -> list[str]:
        """Return what stands before all else: searches that have learned nothing."""
        if self.blind is None:
            return []
        which = f"{self.blind.count} of {self.searches} searches"
        return [blind_words(which, self.blind.loss, self.blind.blind_loss)]

    def _hypergradient(self) -> str:
        parts = [f"Hypergradient: {self.method}"]
        if self.solved is not None:
            parts.append(f"median {self.solved.iterations} solver iterations a step")
            if self.solved.damping is not None:
                parts.append(f"damping {self.solved.damping:g}")
            parts.append(
                "the solver stopped at negative curvature or diverged in "
                f"{self.solved.stopped_early:.0%} of the outer steps"
            )
        if self.implicit_share is not None:
            balanced = ", and was made as long" if self.balanced else ""
            parts.append(
                f"the implicit part was {self.implicit_share:.2g} times the direct part{balanced}"
            )
        return f"{', '.join(parts)}."

    def _early(self) -> list[str]:
        """Return when searches ended early, if they could."""
        if self.settled is None:
            return []
        if not self.settled:
            return [f"None of {self.searches} searches ended early: the ranks went on moving."]
        low, high = min(self.settled), max(self.settled)
        when = f"step {low}" if low == high else f"steps {low} to {high}"
        return [
            f"The ranks had settled in {len(self.settled)} of {self.searches} searches, which "
            f"ended at outer {when}."
        ]


def blind_words(searches: str, reached: float, blind_loss: float | None) -> str:
    """Return what is to be said of searches that have learned nothing."""
    return (
        f"The validation loss at the end of {searches} was {reached:.3f}, and an answer that does "
        f"not look at its input has {blind_loss:.3f}: next to nothing had been learned, so these "
        f"ranks say little. {WHAT_TO_CHANGE}"
    )


def search_words(result: SearchResult) -> str:
    """Return what one search found: its ranks, whether it ended early, what may be said of them."""
    one = len(result.searches) == 1
    each = {"the search" if one else f"search {i}": s for i, s in enumerate(result.searches)}
    early = [
        f"{name.capitalize()} ended early, at step {search.rows[-1]['step']}: its ranks had "
        "settled."
        for name, search in each.items()
        if search.settled
    ]
    blind = [
        blind_words(name, search.reached, search.blind_loss)
        for name, search in each.items()
        if search.blind
    ]
    said = [*early, *blind, result.stability.sentence()]
    return "\n".join([ranks_table(result.ranks), "", *said])


def courses(table: StudyTable, folder: Path) -> dict[str, Course]:
    """Return the course of each point of a study whose searches are in its folder.

    Args:
        table: of the study.
        folder: of the study.

    Returns:
        Settings in words, empty of a study of one point, -> how its searches went.
    """
    finished = [row for row in table.rows if row["status"] == "finished"]
    arms = [
        arm for arm in (LEARNED, table.primary.chosen) if any(r["arm"] == arm for r in finished)
    ]
    rows = [row for row in finished if row["arm"] in arms[:1]]
    places: dict[str, list[Path]] = {}
    for row in rows:
        place = folder / "runs" / row["id"] / str(row["seed"]) / LEARNED
        if (place / "search").is_dir():
            places.setdefault(words(row["settings"]), []).append(place)
    return {
        setting: Course.of(_config(found[0]), [SearchResult.load(p) for p in found])
        for setting, found in places.items()
    }


def _config(place: Path) -> RunConfig:
    run = place.parent.parent
    manifest.refuse_damaged(run, CHANGED, "config.yaml")
    return RunConfig.load(run / "config.yaml")
