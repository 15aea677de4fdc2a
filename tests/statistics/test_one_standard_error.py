"""The smallest size that is as good as the best, by the paired difference over rows."""

import math

import numpy as np
import pytest
import torch

from autolora_meta.errors import InputError
from autolora_meta.statistics.one_standard_error import smallest_as_good

ROWS = torch.tensor(
    [
        [1.5, 2.6, 3.5, 4.6],  # above the best by 0.5 and 0.6: mean 0.55, far above its error
        [0.9, 2.2, 2.9, 4.2],  # by -0.1, 0.2, -0.1, 0.2: mean 0.05, error 0.0866
        [1.0, 2.0, 3.0, 4.0],  # the best
        [1.0, 2.1, 3.0, 4.1],
    ],
    dtype=torch.float64,
)


def test_the_standard_error_is_that_of_the_paired_difference() -> None:
    found = smallest_as_good(ROWS)
    assert found.best == 2 and found.chosen == 1
    assert found.losses == pytest.approx((3.05, 2.55, 2.5, 2.55))
    # by hand: d = (-0.1, 0.2, -0.1, 0.2), sd = sqrt(4 * 0.15^2 / 3), error = sd / sqrt(4)
    assert found.differences[1] == pytest.approx(0.05)
    assert found.standard_errors[1] == pytest.approx(math.sqrt(4 * 0.15**2 / 3) / 2)
    assert found.standard_errors[2] == 0
    # The error of the best itself, which is not paired, would let the first size pass.
    alone = float(ROWS[2].std() / math.sqrt(4))
    assert found.differences[0] < alone


def test_it_agrees_with_numpy_on_drawn_losses() -> None:
    draw = np.random.default_rng(0)
    for _ in range(20):
        x = draw.normal(size=(5, 1)) * 0.05 + draw.normal(size=(5, 30))
        best = int(x.mean(axis=1).argmin())
        d = x - x[best]
        error = d.std(axis=1, ddof=1) / np.sqrt(30)
        expected = next(b for b in range(5) if d[b].mean() <= error[b])
        found = smallest_as_good(torch.from_numpy(x))
        assert (found.best, found.chosen) == (best, expected)


def test_equal_losses_give_the_smallest() -> None:
    found = smallest_as_good(torch.ones(3, 4))
    assert (found.best, found.chosen) == (0, 0)


def test_a_size_that_lost_its_way_is_never_chosen() -> None:
    lost = torch.tensor([[math.inf, 1.0], [2.0, 2.0], [2.0, 2.1]])
    found = smallest_as_good(lost)
    assert (found.best, found.chosen) == (1, 1) and found.losses[0] == math.inf
    with pytest.raises(InputError, match="no size has finite losses; lower"):
        smallest_as_good(torch.full((2, 3), math.inf))


def test_missing_losses_and_single_rows_are_refused() -> None:
    with pytest.raises(InputError, match="size 1 has no loss"):
        smallest_as_good(torch.tensor([[1.0, 2.0], [1.0, math.nan]]))
    with pytest.raises(InputError, match="at least two rows"):
        smallest_as_good(torch.ones(3, 1))
