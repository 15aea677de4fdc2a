"""Rates of false claims, by simulation: how often a difference is claimed where there is none.

    python -m benchmarks.claims [--draws 1000]

Rates are counted on the sentences and intervals that a run prints.
"""

import argparse
from collections.abc import Callable

import numpy as np

from autolora_meta.config.compare import CompareOptions
from autolora_meta.reporting.markdown import table
from autolora_meta.statistics.paired import paired_difference
from autolora_meta.studies.questions import Primary, questions_of
from autolora_meta.studies.table import StudyTable

METRICS = ("cross_entropy", "accuracy", "macro_f1")
ARMS = ("learned", "uniform", "shuffled", "frozen", "random", "eva")
CORRELATION = 0.7  # of the metrics of one training
CLAIMS = ("beats", "is worse than")
REPLICATES = (5, 10, 16)
Draw = Callable[[np.random.Generator, int], np.ndarray]
# Differences without a mean: one value in ten of `outlier` is ten times as wide, `skewed` is
# exponential.
SHAPES: dict[str, Draw] = {
    "normal": lambda rng, n: rng.standard_normal(n),
    "t, 3 degrees": lambda rng, n: rng.standard_t(3, n),
    "Laplace": lambda rng, n: rng.laplace(size=n),
    "outlier": lambda rng, n: rng.standard_normal(n) * np.where(rng.random(n) < 0.1, 10, 1),
    "skewed": lambda rng, n: rng.exponential(size=n) - 1,
}


def study(rng: np.random.Generator, seeds: int) -> StudyTable:
    """Return a study of six arms that do not differ, in three correlated metrics."""
    shared = rng.standard_normal((len(ARMS), 1, seeds))
    own = rng.standard_normal((len(ARMS), len(METRICS), seeds))
    values = CORRELATION**0.5 * shared + (1 - CORRELATION) ** 0.5 * own
    rows = [
        {"settings": {}, "arm": arm, "seed": seed, "id": f"{arm}-{seed}", "status": "finished"}
        | {"metrics": dict(zip(METRICS, values[i, :, seed].tolist(), strict=True))}
        | {"compared": list(METRICS), "parameters": 1, "cost": 1.0, "pattern": f"{arm}-{seed}"}
        for i, arm in enumerate(ARMS)
        for seed in range(seeds)
    ]
    asked = questions_of(CompareOptions(arms=ARMS))
    primary = Primary(arms=("learned", "uniform"))
    return StudyTable("simulated", ("arm",), tuple(rows), asked, primary)


def claims(table: StudyTable) -> list[bool]:
    """Return for each sentence whether it claims a difference."""
    return [any(word in said for word in CLAIMS) for said in table.sentences()]


def false_claims(draws: int, seeds: int) -> dict[str, float]:
    """Return how often a study without any difference claims one."""
    rng = np.random.default_rng(seeds)
    each = [claims(study(rng, seeds)) for _ in range(draws)]
    return {
        "the primary sentence": float(np.mean([said[0] for said in each])),
        "any secondary sentence": float(np.mean([any(said[1:]) for said in each])),
        "any sentence": float(np.mean([any(said) for said in each])),
    }


def coverage(draws: int, seeds: int, shape: Draw) -> float:
    """Return how often the interval of a difference holds its true mean, 0."""
    rng = np.random.default_rng(seeds)
    held = 0
    for _ in range(draws):
        d = paired_difference(shape(rng, seeds).tolist(), [0.0] * seeds)
        held += d.low <= 0 <= d.high
    return held / draws


def looking_again(draws: int, first: int = 3, last: int = 16) -> float:
    """Return how often the primary sentence claims a difference at one of several looks."""
    rng = np.random.default_rng(0)
    found = 0
    for _ in range(draws):
        values = rng.standard_normal(last).tolist()
        each = (paired_difference(values[:n], [0.0] * n) for n in range(first, last + 1))
        found += any(d.conclusive for d in each)
    return found / draws


def main() -> None:
    """Print the rates."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--draws", type=int, default=1000, help="simulations a case")
    draws = parser.parse_args().draws
    rates = {seeds: false_claims(draws, seeds) for seeds in REPLICATES}
    header = ["nothing differs, and a claim is made by", *(f"{n} replicates" for n in REPLICATES)]
    print(table(header, [[k, *(f"{rates[n][k]:.3f}" for n in REPLICATES)] for k in rates[5]]))
    print()
    header = ["95% intervals hold the mean of", *(f"{n} replicates" for n in REPLICATES)]
    rows = [
        [name, *(f"{coverage(draws, n, shape):.3f}" for n in REPLICATES)]
        for name, shape in SHAPES.items()
    ]
    print(table(header, rows))
    print(
        "\nLooking at the primary sentence after each of 3 to 16 seeds, and stopping at the first "
        f"claim: {looking_again(draws):.3f}"
    )


if __name__ == "__main__":
    main()
