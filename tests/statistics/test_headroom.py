"""Headroom: variance components, a gain whose choice is corrected for, and what explains it."""

from itertools import combinations

import numpy as np
import pytest
from scipy import stats

from autolora_meta.errors import InputError
from autolora_meta.statistics.headroom import corrected_gain, explained, headroom, spread
from autolora_meta.statistics.headroom_claims import explained_words, spread_words, verdict


def drawn(
    seed: int, patterns: np.ndarray, replicates: int, noise: float = 1.0, between: float = 3.0
) -> tuple[np.ndarray, np.ndarray]:
    """Losses of patterns with these effects and of uniform ranks, whose effect is 0."""
    draw = np.random.default_rng(seed)
    shift = between * draw.standard_normal(replicates)
    own = noise * draw.standard_normal((len(patterns), replicates))
    return patterns[:, None] + shift + own, shift + noise * draw.standard_normal(replicates)


def test_components_are_those_of_least_squares() -> None:
    losses, _ = drawn(0, np.array([0.0, 1.0, -2.0, 0.5, 0.3]), 4)
    n, r = losses.shape
    y = losses.ravel()
    rows, columns = np.repeat(np.eye(n), r, axis=0), np.tile(np.eye(r), (n, 1))

    def left(*parts: np.ndarray) -> float:
        x = np.concatenate([np.ones((n * r, 1)), *parts], axis=1)
        return float(((y - x @ np.linalg.lstsq(x, y, rcond=None)[0]) ** 2).sum())

    both, free = left(rows, columns), (n - 1) * (r - 1)
    of_pattern, of_replicate = (left(columns) - both) / (n - 1), (left(rows) - both) / (r - 1)
    found = spread(losses)
    assert found.residual**2 == pytest.approx(both / free)
    assert found.pattern**2 == pytest.approx((of_pattern - both / free) / r)
    assert found.replicate**2 == pytest.approx((of_replicate - both / free) / n)
    assert found.p_value == pytest.approx(stats.f.sf(of_pattern / (both / free), n - 1, free))


def test_equal_losses_have_no_spread_and_a_negative_component_is_none() -> None:
    same = spread(np.full((5, 4), 0.7))
    assert (same.pattern, same.replicate, same.residual, same.p_value) == (0, 0, 0, 1)
    crossed = spread(np.array([[1.0, -1.0], [-1.0, 1.0]]))
    assert crossed.pattern == crossed.replicate == 0 and crossed.residual == 2


@pytest.mark.parametrize("replicates", [4, 5])
def test_the_gain_is_that_of_every_choice_on_one_half_judged_on_the_other(replicates: int) -> None:
    losses, uniform = drawn(1, np.linspace(-1, 1, 6), replicates)

    def judged(seeds: list[int]) -> float:
        found = []
        for size in {len(seeds) // 2, len(seeds) - len(seeds) // 2}:
            for half in combinations(seeds, size):
                rest = [seed for seed in seeds if seed not in half]
                best = min(range(6), key=lambda p: losses[p, list(half)].mean())
                found.append((uniform[rest] - losses[best, rest]).mean())
        return float(np.mean(found))

    every = list(range(replicates))
    without = [judged([s for s in every if s != out]) for out in every]
    error = np.sqrt((replicates - 1) * np.var(without))
    gain = corrected_gain(uniform - losses)
    assert gain.mean == pytest.approx(judged(every))
    half = stats.t.ppf(0.975, replicates - 1) * error
    assert (gain.low, gain.high) == pytest.approx((gain.mean - half, gain.mean + half))


def test_where_nothing_differs_the_best_of_many_gains_nothing() -> None:
    found = [headroom(*drawn(seed, np.zeros(20), 6)) for seed in range(100)]
    gains = [each.gain for each in found if each.gain is not None]
    assert np.mean([each.seen for each in found]) > 0.5  # in the replicates of the choice
    assert abs(np.mean([gain.mean for gain in gains])) < 0.1
    assert np.mean([gain.low <= 0 <= gain.high for gain in gains]) > 0.92
    assert np.mean([each.matter for each in found]) < 0.05
    assert np.mean([each.differ for each in found]) < 0.1


def test_where_patterns_differ_the_interval_holds_the_gain() -> None:
    effects = np.linspace(-1, 1, 12)
    gains = [corrected_gain(uniform - losses) for losses, uniform in (
        drawn(seed, effects, 6) for seed in range(100)
    )]  # fmt: skip
    truth = np.mean([gain.mean for gain in gains])
    assert 0.5 < truth < 1
    assert 0.9 < np.mean([gain.low <= truth <= gain.high for gain in gains]) < 1


def test_a_predictor_is_named_only_beyond_the_best_of_all_by_chance() -> None:
    draw = np.random.default_rng(3)
    shares = {name: draw.random(20) for name in ("query", "value", "dense", "layer.3.query")}
    told = explained(-2 * shares["value"] + 0.1 * draw.standard_normal(20), shares)
    assert told is not None and told.name == "value" and told.helps and told.share > 0.9
    told = explained(shares["dense"], shares)
    assert told is not None and told.name == "dense" and not told.helps
    by_chance = [explained(draw.standard_normal(20), shares) for _ in range(30)]
    assert sum(each is not None for each in by_chance) <= 5
    assert explained(np.zeros(20), shares) is None
    assert explained(draw.random(20), {"query": np.full(20, 0.5)}) is None


def said(effects: np.ndarray, replicates: int, **about: float) -> str:
    return verdict(headroom(*drawn(5, effects, replicates, **about)), "cross-entropy")


def test_the_verdict_says_what_is_shown() -> None:
    matter = said(np.linspace(-2, 0, 8), 8, noise=0.1)
    assert matter.startswith("Ranks matter here: the best of 8 random patterns is 1.9")
    assert matter.endswith(") than uniform in cross-entropy")
    nothing = said(np.zeros(8), 12, noise=0.1)
    assert nothing.startswith(
        "Ranks do not matter here: use uniform ranks and save the search; the best of 8 random"
    )
    worse = said(np.linspace(0, 3, 8), 12, noise=0.1)
    assert worse.startswith("Patterns differ here, but none is shown to beat uniform")
    assert worse.endswith("use uniform ranks and save the search")
    unclear = said(np.zeros(8), 4, between=0.1)
    assert unclear.startswith("It cannot be told whether ranks matter here: the best of 8")
    assert "replicates would tell (compare.replicates)" in unclear
    few = said(np.linspace(-2, 0, 8), 3, noise=0.1)
    assert few.startswith("It cannot be told") and "takes at least 4 (compare.replicates)" in few


def test_only_what_is_small_beside_the_replicates_is_called_nothing() -> None:
    quiet = headroom(*drawn(5, np.zeros(8), 4, between=0.0))
    assert quiet.gain is not None and quiet.gain.high > quiet.small and not quiet.nil
    loud = headroom(*drawn(5, np.zeros(8), 4, between=30.0))
    assert loud.gain is not None and loud.gain.high == pytest.approx(quiet.gain.high) and loud.nil


def test_words_of_the_spread_and_of_what_explains_it() -> None:
    shares = {"value": np.linspace(0, 1, 8)}
    found = headroom(*drawn(5, np.linspace(-2, 0, 8), 8, noise=0.1), shares)
    assert "between patterns (p < 0.001)" in spread_words(found)
    assert "in value explains 100% of the differences" in explained_words(found)
    assert "patterns with fewer there do better" in explained_words(found)
    unnamed = headroom(*drawn(5, np.linspace(-2, 0, 8), 8))
    assert explained_words(unnamed).startswith("No kind of module and no single layer")


def test_what_cannot_be_crossed_is_refused() -> None:
    for losses, uniform in (
        (np.zeros((1, 4)), np.zeros(4)),
        (np.zeros((4, 4)), np.zeros(3)),
        (np.full((4, 4), np.inf), np.zeros(4)),
    ):
        with pytest.raises(InputError, match="headroom needs"):
            headroom(losses, uniform)
