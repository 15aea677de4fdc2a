"""Targets for accuracy rows, each judged by its worst row."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from autolora_meta.verification.measure import AccuracyRow

Picks = Callable[[AccuracyRow], bool]


@dataclass(frozen=True)
class Target:
    """A bound on the rows that `picks` picks: a cosine must be above it, an error below."""

    words: str
    picks: Picks
    error: float | None = None
    cosine: float | None = None

    def verdict(self, rows: Sequence[AccuracyRow]) -> str | None:
        """Return a sentence with the worst figure, or None if the target has no rows."""
        mine = [row for row in rows if self.picks(row)]
        if not mine:
            return None
        holds, figures = True, []
        if self.error is not None:
            worst = max(row.relative_error for row in mine)
            holds &= worst <= self.error
            figures.append(f"relative error {worst:.1e}, bound {self.error:g}")
        if self.cosine is not None:
            least = min(row.cosine for row in mine)
            holds &= least >= self.cosine
            figures.append(f"cosine {least:.6f}, bound {self.cosine:g}")
        return f"{'holds ' if holds else 'MISSED'} {self.words}: {'; '.join(figures)}"


def _exact(row: AccuracyRow) -> bool:
    return row.dtype == "float64" and not row.method.startswith("betty-")


def _model(dtype: str, method: str, difference: str | None) -> Picks:
    wanted = ("model", dtype, method, difference)
    return lambda row: (row.problem, row.dtype, row.method, row.difference) == wanted


TARGETS = (
    Target(
        "float64, central differences",
        lambda row: _exact(row) and row.difference == "central",
        error=1e-6,
    ),
    Target(
        "float64, cg: p iterations at condition 10, 3p at 1e3",
        lambda row: _exact(row) and row.problem == "quadratic" and row.method == "cg",
        error=1e-8,
    ),
    Target(
        "float64, nystrom against (H + rho I)^-1 v, rho = 1e-2 lambda_max",
        lambda row: _exact(row) and row.problem == "quadratic" and row.method == "nystrom",
        error=1e-6,
    ),
    Target(
        "float64, one_step and unrolled",
        lambda row: _exact(row) and row.method in ("one_step", "unrolled"),
        error=1e-9,
    ),
    Target("model, float32, darts central", _model("float32", "darts", "central"), error=1e-3),
    Target(
        "model, float32, darts forward",
        _model("float32", "darts", "forward"),
        error=5e-3,
        cosine=0.9999,
    ),
    Target("model, bf16 autocast, darts central", _model("bf16", "darts", "central"), cosine=0.999),
    Target("model, bf16 autocast, darts forward", _model("bf16", "darts", "forward"), cosine=0.999),
)


def verdicts(rows: Sequence[AccuracyRow]) -> list[str]:
    """Return a sentence for each target with rows, and one about Neumann's convergence."""
    sentences = [target.verdict(rows) for target in TARGETS]
    return [sentence for sentence in [*sentences, _neumann(rows)] if sentence is not None]


def _neumann(rows: Sequence[AccuracyRow]) -> str | None:
    """Return a sentence on whether Neumann's error falls with K at every condition, or None."""
    courses: dict[float, list[tuple[int, float]]] = {}
    for row in rows:
        if row.problem == "quadratic" and row.method == "neumann" and row.condition:
            terms = int(row.options["iterations"])
            courses.setdefault(row.condition, []).append((terms, row.relative_error))
    if not courses:
        return None
    errors = [[error for _, error in sorted(course)] for course in courses.values()]
    falls = all(later < earlier for course in errors for earlier, later in pairwise(course))
    figures = ["; ".join(f"{error:.1e}" for error in course) for course in errors]
    return f"{'holds ' if falls else 'MISSED'} float64, neumann falls with K: {' | '.join(figures)}"
