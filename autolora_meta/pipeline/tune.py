"""Tune: the options of a retraining that do best, for given ranks, on rows that it did not see."""

from dataclasses import dataclass

from autolora_meta.config.run import RunConfig
from autolora_meta.config.tune import in_words, points, with_point
from autolora_meta.finetuning.prepare import Prepared
from autolora_meta.foundation.cost import Cost
from autolora_meta.foundation.progress import Progress
from autolora_meta.pipeline.cross_fit import FOLDS, Candidate, cross_fit
from autolora_meta.ranks.pattern import RankPattern


@dataclass(frozen=True)
class Tuned:
    """What was picked.

    Args:
        picked: key of `compare.tune` -> its value; empty where nothing is to be picked.
        cost: of trying all points.
    """

    picked: dict[str, float]
    cost: Cost


def tune_work(config: RunConfig, steps: int) -> float:
    """Return what picking costs at most, in plain steps, scoring aside.

    Args:
        config: of the run.
        steps: of a retraining.
    """
    return float(FOLDS * len(points(config.compare.tune)) * steps)


def tune(
    config: RunConfig,
    prepared: Prepared,
    seed: int,
    pattern: RankPattern,
    progress: Progress | None = None,
) -> Tuned:
    """Pick from the grid of `compare.tune` by the mean loss of cross-fitted rows.

    Each point is retrained at full length on all folds of training and validation rows but one, and
    scored on that one. Of equal points the first is picked. Test rows are not touched.

    Args:
        config: of the run; what the grid does not name of `retrain` is the same in all points.
        prepared: base and rows of the replicate.
        seed: of the replicate.
        pattern: the ranks, which stay.
        progress: told after each step.

    Raises:
        InputError: there are fewer rows than folds, or a retraining is refused.
    """
    grid = points(config.compare.tune)
    if not grid:
        return Tuned({}, Cost())
    candidates = [
        Candidate(in_words(point), pattern, with_point(config.retrain, point)) for point in grid
    ]
    found = cross_fit(config, prepared, seed, candidates, folds=FOLDS, progress=progress)
    losses = found.losses.nanmean(dim=1).tolist()  # infinite: it lost its way
    best = min(range(len(grid)), key=lambda i: losses[i])
    return Tuned(grid[best], found.cost)
