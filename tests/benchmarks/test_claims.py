"""Where nothing differs, a claim is made as seldom as promised."""

import pytest

from benchmarks.claims import SHAPES, coverage, false_claims, looking_again


def test_a_study_in_which_nothing_differs_rarely_claims_anything() -> None:
    rates = false_claims(200, 5)
    assert rates["the primary sentence"] <= 0.08
    assert rates["any secondary sentence"] <= 0.08  # 26 of them, in three metrics


@pytest.mark.parametrize("shape", ["normal", "t, 3 degrees", "Laplace", "outlier"])
@pytest.mark.parametrize("seeds", [5, 10])
def test_intervals_hold_the_mean(seeds: int, shape: str) -> None:
    assert coverage(1500, seeds, SHAPES[shape]) >= 0.93


def test_looking_after_each_seed_claims_more() -> None:
    assert looking_again(300, last=12) > 0.12
