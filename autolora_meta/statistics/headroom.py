"""Headroom: how much ranks can matter, from random patterns crossed with replicates."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from itertools import combinations

import numpy as np
from scipy import stats

from autolora_meta.errors import InputError

MIN_REPLICATES = 4  # so that one of the halves still has two when a replicate is left out
ALPHA = 0.05
SMALL = 0.5  # of the standard deviation over replicates: a gain that another split outweighs
_SPLITS = 1000  # into halves, at most
_PERMUTATIONS = 1999
_MOST = 1000  # replicates that are told of
_ROUNDING = 1e-12


@dataclass(frozen=True)
class Spread:
    """Standard deviations of losses, in their unit.

    Args:
        pattern: between patterns, that of the noise taken off.
        replicate: between replicates, that of the noise taken off.
        residual: what is left: a pattern does better or worse in one replicate than in others.
        p_value: of no difference between patterns (F test).
    """

    pattern: float
    replicate: float
    residual: float
    p_value: float

    @property
    def over_replicates(self) -> float:
        """Of one pattern over the replicates."""
        return math.hypot(self.replicate, self.residual)


@dataclass(frozen=True)
class Gain:
    """What the best pattern gains over uniform ranks; above 0 it is better.

    Args:
        mean: of the pattern chosen on one half of the replicates, in the other half.
        low, high: ends of the 95% interval.
        error: standard error of `mean`.
        replicates: behind it.
    """

    mean: float
    low: float
    high: float
    error: float
    replicates: int

    def needed(self, small: float) -> float:
        """Return about how many replicates would tell a gain of this size from none, or small.

        The least R whose interval, t_{R-1} s / sqrt(R) on either side with s as it is, would end
        above 0 or below `small`; infinity for more than 1,000.
        """
        size = max(self.mean, small - self.mean)
        s = self.error * math.sqrt(self.replicates)
        for n in range(self.replicates + 1, _MOST + 1):
            if _t(n) * s <= size * math.sqrt(n):
                return n
        return math.inf


@dataclass(frozen=True)
class Explained:
    """What explains the differences between patterns best.

    Args:
        name: of a kind of module or of a layer, whose share of the parameters is the predictor.
        share: of the variance of the patterns' means, R^2.
        helps: more parameters there go with a lower loss.
        p_value: that the best of all predictors explains as much where none does.
    """

    name: str
    share: float
    helps: bool
    p_value: float


@dataclass(frozen=True)
class Headroom:
    """What random patterns show.

    Args:
        patterns, replicates: how many.
        spread: of their losses.
        seen: what the pattern with the lowest mean gains over uniform ranks in the replicates that
            it was chosen in: too much, since the best of many is also the luckiest.
        gain: the same with its choice corrected for; None below 4 replicates.
        explained: what explains the differences; None where nothing is shown to.
    """

    patterns: int
    replicates: int
    spread: Spread
    seen: float
    gain: Gain | None
    explained: Explained | None = None

    @property
    def differ(self) -> bool:
        """Patterns are shown to differ."""
        return self.spread.p_value <= ALPHA

    @property
    def matter(self) -> bool:
        """The best pattern is shown to be better than uniform ranks."""
        return self.gain is not None and self.gain.low > 0

    @property
    def nil(self) -> bool:
        """Nothing is to be won: the gain is at most small beside the spread over replicates."""
        return self.gain is not None and not self.matter and self.gain.high <= self.small

    @property
    def small(self) -> float:
        """A gain that is small: half of the standard deviation of a pattern over replicates."""
        return SMALL * self.spread.over_replicates


def headroom(
    losses: np.ndarray, uniform: np.ndarray, predictors: Mapping[str, np.ndarray] | None = None
) -> Headroom:
    """Return what random patterns show about the headroom over uniform ranks.

    Args:
        losses: lower is better. (patterns, replicates)
        uniform: of uniform ranks in the same replicates. (replicates,)
        predictors: name -> share of the parameters that each pattern gives there. (patterns,)

    Raises:
        InputError: there are fewer than 2 patterns or replicates, shapes do not agree, or a loss is
            not finite.
    """
    losses, uniform = np.asarray(losses, dtype=float), np.asarray(uniform, dtype=float)
    if losses.ndim != 2 or min(losses.shape) < 2 or losses.shape[1:] != uniform.shape:
        raise InputError(
            "headroom needs losses of at least 2 patterns in at least 2 replicates, and those of "
            f"uniform ranks in the same; given {losses.shape} and {uniform.shape}"
        )
    if not (np.isfinite(losses).all() and np.isfinite(uniform).all()):
        raise InputError("headroom needs finite losses; a pattern or uniform ranks has others")
    n, replicates = losses.shape
    better = uniform - losses  # gain over uniform in the same replicate, (n, R)
    return Headroom(
        n,
        replicates,
        spread(losses),
        float(better.mean(axis=1).max()),
        corrected_gain(better) if replicates >= MIN_REPLICATES else None,
        explained(losses.mean(axis=1), predictors or {}),
    )


def spread(losses: np.ndarray) -> Spread:
    """Return the components of variance of crossed patterns and replicates.

    x_pr = mu + pattern_p + replicate_r + residual_pr, all random:
    var_pattern = (MS_pattern - MS_residual) / R, var_replicate = (MS_replicate - MS_residual) / n,
    each cut at 0; F = MS_pattern / MS_residual with n - 1 and (n - 1) (R - 1) degrees of freedom.

    Args:
        losses: (n, R)

    Source: Searle, Casella and McCulloch, Variance Components, Wiley 1992, chapter 4.
    """
    n, r = losses.shape
    rows, columns = losses.mean(axis=1, keepdims=True), losses.mean(axis=0, keepdims=True)
    mean = losses.mean()
    of_pattern = r * float(((rows - mean) ** 2).sum()) / (n - 1)
    of_replicate = n * float(((columns - mean) ** 2).sum()) / (r - 1)
    free = (n - 1) * (r - 1)
    left = float(((losses - rows - columns + mean) ** 2).sum()) / free
    none = (_ROUNDING * float(np.abs(losses).max())) ** 2  # mean squares of rounding
    if of_pattern <= none:
        p = 1.0
    else:
        p = float(stats.f.sf(of_pattern / left, n - 1, free)) if left > none else 0.0
    variances = (of_pattern - left) / r, (of_replicate - left) / n, left
    pattern, replicate, residual = (math.sqrt(v) if v > none else 0.0 for v in variances)
    return Spread(pattern, replicate, residual, p)


def corrected_gain(better: np.ndarray) -> Gain:
    """Return the gain of the best pattern, chosen on one half of the replicates, in the other.

    Halves change places, and all splits (1,000 at most) are averaged: where no pattern is better
    than uniform ranks the mean gain is 0 at most, however many patterns there are. The interval is
    that of the jackknife over replicates, theta +- t_{R-1} s with
    s^2 = (R - 1) / R sum_r (theta_(r) - mean)^2. A bootstrap would put copies of one replicate into
    both halves.

    Args:
        better: uniform's loss minus each pattern's in the same replicate. (n, R)

    Source: Efron, The Jackknife, the Bootstrap and Other Resampling Plans, SIAM 1982, chapter 3.
    """
    r = better.shape[1]
    mean = _split_gain(better)
    without = np.array([_split_gain(np.delete(better, i, axis=1)) for i in range(r)])
    error = math.sqrt((r - 1) / r * float(((without - without.mean()) ** 2).sum()))
    half = _t(r) * error
    return Gain(mean, mean - half, mean + half, error, r)


def _split_gain(better: np.ndarray) -> float:
    """Return the mean over splits of what is chosen on a part and judged on the rest."""
    chosen_on = _halves(better.shape[1])  # (S, R)
    judged_on = ~chosen_on
    best = (better @ chosen_on.T).argmax(axis=0)  # (S,)
    judged = (better @ judged_on.T) / judged_on.sum(axis=1)  # (n, S)
    return float(judged[best, np.arange(len(best))].mean())


@cache
def _halves(r: int) -> np.ndarray:
    """Return splits of r replicates: which are chosen on, each with its halves swapped. (S, r)"""
    half = r // 2
    if math.comb(r, half) <= _SPLITS:
        sets = [np.isin(np.arange(r), part) for part in combinations(range(r), half)]
    else:
        draw = np.random.default_rng(r)
        sets = [draw.permutation(r) < half for _ in range(_SPLITS // 2)]
    first = np.array(sets)
    return np.concatenate([first, ~first])


def explained(means: np.ndarray, predictors: Mapping[str, np.ndarray]) -> Explained | None:
    """Return the predictor that explains most of the differences between patterns.

    Each is a regression of its own, mean_p = a + b share_p. It is named where its R^2 is beyond
    what the best of all predictors reaches in 95 of 100 permutations of the patterns.

    Args:
        means: mean loss of each pattern. (n,)
        predictors: name -> (n,); of equal ones the first counts.
    """
    varied = {name: x for name, x in predictors.items() if np.ptp(x) > _ROUNDING}
    y = means - means.mean()
    if not varied or len(y) < 3 or np.ptp(y) <= _ROUNDING * float(np.abs(means).max()):
        return None
    x = np.array(list(varied.values()), dtype=float)  # (P, n)
    x -= x.mean(axis=1, keepdims=True)
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    y = y / np.linalg.norm(y)
    correlation = x @ y  # R^2 = correlation^2 of one predictor
    best = int(np.argmax(correlation**2))
    share = float(correlation[best] ** 2)
    draw = np.random.default_rng(0)
    shuffled = np.array([draw.permutation(y) for _ in range(_PERMUTATIONS)])  # (Q, n)
    largest = ((shuffled @ x.T) ** 2).max(axis=1)
    p = (1 + int((largest >= share - _ROUNDING).sum())) / (1 + _PERMUTATIONS)
    if p > ALPHA:
        return None
    return Explained(list(varied)[best], share, bool(correlation[best] < 0), p)


def _t(n: int) -> float:
    return float(stats.t.ppf(1 - ALPHA / 2, n - 1))
