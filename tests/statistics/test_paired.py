"""Paired differences: intervals, p-values, their correction, power."""

import math
from functools import partial

import numpy as np
import pytest
from scipy import stats

from autolora_meta.errors import InputError
from autolora_meta.statistics.claims import sentence
from autolora_meta.statistics.paired import (
    holm,
    paired_difference,
    replicates_needed,
)

RANDOM = np.random.default_rng(3)
A = RANDOM.normal(1.0, 0.5, 6)
B = RANDOM.normal(0.8, 0.5, 6)


def test_interval_by_hand() -> None:
    d = paired_difference([3.0, 4.0, 5.0], [1.0, 2.0, 3.5])
    # differences 2, 2, 1.5: mean 11/6, sd sqrt(1/12), t(0.975, 2) = 4.302653
    half = 4.302653 * math.sqrt(1 / 12) / math.sqrt(3)
    assert d.mean == pytest.approx(11 / 6)
    assert (d.low, d.high) == pytest.approx((11 / 6 - half, 11 / 6 + half), rel=1e-6)
    assert d.sd == pytest.approx(math.sqrt(1 / 12))


@pytest.mark.parametrize("level", [0.5, 0.95, 0.99])
def test_interval_equals_scipys(level: float) -> None:
    d = paired_difference(list(A), list(B), level)
    low, high = stats.ttest_rel(A, B).confidence_interval(level)
    assert (d.low, d.high) == pytest.approx((low, high), rel=1e-12)


def test_pairs_that_agree_leave_no_doubt_where_arms_overlap() -> None:
    a, b = np.array([0.5, 0.7, 0.9, 0.6]) + 0.02, np.array([0.5, 0.7, 0.9, 0.6])
    d = paired_difference(list(a + np.array([0.001, 0, 0, 0.001])), list(b))
    assert d.conclusive
    unpaired = stats.ttest_ind(a, b)
    assert np.asarray(unpaired)[1] > 0.8


def test_equal_arms_are_not_conclusive() -> None:
    d = paired_difference([0.5, 0.7, 0.9], [0.5, 0.7, 0.9])
    assert (d.mean, d.low, d.high, d.p_test) == (0, 0, 0, 1)
    assert not d.conclusive


@pytest.mark.parametrize("n", [1, 2])
def test_fewer_than_three_replicates_conclude_nothing(n: int) -> None:
    d = paired_difference([5.0, 5.1][:n], [1.0, 1.1][:n])
    assert not d.conclusive
    assert d.low <= d.mean <= d.high
    assert sentence(d, "learned", "uniform", "accuracy").startswith("no claim: ")


@pytest.mark.parametrize("n", [5, 10, 16])
@pytest.mark.parametrize("draw", [RANDOM.standard_normal, partial(RANDOM.standard_t, 3)])
def test_intervals_cover_the_mean_as_often_as_they_say(draw, n: int) -> None:
    rows = draw(size=(2000, n))
    found = [paired_difference(list(row), [0.0] * n) for row in rows]
    covered = sum(d.low <= 0 <= d.high for d in found) / len(found)
    assert 0.93 <= covered <= 0.975


def test_equal_differences_have_an_interval_of_no_width() -> None:
    alike = paired_difference([1.1] * 10, [1.0] * 10)
    assert (alike.low, alike.high) == pytest.approx((0.1, 0.1))


def test_the_p_value_goes_with_the_interval() -> None:
    d = paired_difference(list(A), list(B))
    assert d.p_test == pytest.approx(stats.ttest_rel(A, B).pvalue)
    clear = paired_difference([1.0 + 0.01 * i for i in range(10)], [0.0] * 10)
    assert min(holm([clear.p_test] + [1.0] * 41)) < 0.001
    assert (d.p_test < 0.05) == d.conclusive
    assert paired_difference([1.0], [0.0]).p_test == 1
    assert paired_difference([1.0, 1.0], [1.0, 1.0]).p_test == 1
    many = paired_difference(list(RANDOM.normal(0.5, 1, 16)), [0.0] * 16)
    assert (many.p_test < 0.05) == (many.low > 0)


def test_a_difference_that_cancels_to_rounding_is_none() -> None:
    d = paired_difference([0.57, 0.62, 0.58], [0.62, 0.55, 0.60])  # -5, +7 and -2 points
    assert d.mean == 0 and d.p_test == 1 and d.sd > 0
    assert "there is no difference to see" in sentence(d, "a", "b", "accuracy")
    small = paired_difference([1e-9, 1.0, 0.0], [0.0, 0.0, 1.0])  # small, and no rounding
    assert small.mean > 0 and small.needed > 1e17


@pytest.mark.parametrize(("n", "p", "holds"), [(3, 0.25, False), (6, 2 / 64, True)])
def test_differences_that_are_all_equal_are_as_sure_as_their_signs(
    n: int, p: float, holds: bool
) -> None:
    b = [0.61, 0.64, 0.56, 0.6, 0.58, 0.66][:n]
    d = paired_difference([x + 0.01 for x in b], b)  # equal to rounding
    assert d.sd == 0 and d.low == d.mean == d.high == pytest.approx(0.01)
    assert d.p_test == p and d.conclusive == holds and d.needed == 6
    if not holds:
        said = "the same in all 3 replicates, p = 0.25; about 6 replicates would be needed"
        assert said in sentence(d.scaled(100), "a", "b", "accuracy", unit="points")


def test_effect_size_and_replicates_needed_of_a_difference() -> None:
    d = paired_difference([3.0, 4.0, 5.0], [1.0, 2.0, 3.5])
    assert d.effect == pytest.approx((11 / 6) / math.sqrt(1 / 12))
    assert d.scaled(-100).effect == pytest.approx(-d.effect)
    assert d.needed == replicates_needed(d.sd, d.mean)
    one = paired_difference([3.0], [1.0])
    assert math.isnan(one.effect) and math.isnan(one.needed)


def test_holm_by_hand() -> None:
    # sorted 0.005, 0.01, 0.03, 0.04 times 4, 3, 2, 1: 0.02, 0.03, 0.06, 0.04 -> 0.06
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.4, 0.9]) == pytest.approx([0.8, 0.9])
    assert holm([]) == [] and holm([0.02]) == [0.02]


@pytest.mark.parametrize(
    ("ratio", "expected"),
    [
        (0.2, 199),
        (0.5, 34),
        (0.8, 15),
        (1.0, 10),
    ],  # the usual tables for a paired t test, power 0.8
)
def test_replicates_needed_gives_the_tables(ratio: float, expected: int) -> None:
    assert replicates_needed(sd=1.0, effect=ratio) == expected
    assert replicates_needed(sd=3.0, effect=-3.0 * ratio) == expected


def test_replicates_needed_at_the_ends() -> None:
    assert replicates_needed(1.0, 0.0) == math.inf
    assert replicates_needed(0.0, 0.1) == 2
    assert replicates_needed(1.0, 100.0) == 2
    assert replicates_needed(1.0, 1e-4) == pytest.approx(
        ((1.959964 + 0.841621) * 1e4) ** 2, rel=1e-4
    )


@pytest.mark.parametrize(
    ("a", "b", "level", "message"),
    [
        ([], [], 0.95, "at least one"),
        ([1.0, 2.0], [1.0], 0.95, "given 2 and 1"),
        ([1.0, math.nan], [1.0, 2.0], 0.95, "not finite in replicate 1"),
        ([1.0], [1.0], 95, "between 0 and 1"),
    ],
)
def test_what_cannot_be_compared_is_refused(
    a: list[float], b: list[float], level: float, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        paired_difference(a, b, level)
