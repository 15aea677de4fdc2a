"""The one-standard-error rule: of rising sizes the smallest that is as good as the best."""

import math
from dataclasses import dataclass

from torch import Tensor

from autolora_meta.errors import InputError


@dataclass(frozen=True)
class AsGood:
    """Sizes held against the best of them.

    Args:
        losses: mean loss of each size over rows; infinite where one of its rows is. (B,)
        differences: that minus the mean loss of the best; infinite where the loss is. (B,)
        standard_errors: of the differences, paired over rows; 0 for the best, and nan where the
            difference is infinite. (B,)
        best: number of the size with the lowest mean loss, of equal ones the first.
        chosen: number of the first size whose difference is at most its standard error.
    """

    losses: tuple[float, ...]
    differences: tuple[float, ...]
    standard_errors: tuple[float, ...]
    best: int
    chosen: int


def smallest_as_good(losses: Tensor) -> AsGood:
    """Choose the smallest size whose mean loss is within one standard error of the best.

    The standard error is that of the paired difference to the best: rows differ far more from each
    other than sizes do on one row, and that part cancels.

    Args:
        losses: of each row, by size, the smallest size first; infinite where a size cannot be had.
            (B, n)

    Raises:
        InputError: a loss is missing (NaN), there are fewer than two rows, or no size has finite
            losses.

    Source: Breiman, Friedman, Olshen and Stone, Classification and Regression Trees, 1984, section
    3.4.3, where the standard error is that of the best itself.

    >>> import torch
    >>> smallest_as_good(torch.tensor([[9.0, 9.0, 9.0], [1.0, 2.0, 4.0], [1.0, 2.5, 3.0]])).chosen
    1
    """
    if losses.dim() != 2 or losses.shape[1] < 2:
        raise InputError(
            f"sizes are compared on at least two rows, (sizes, rows); given {tuple(losses.shape)}"
        )
    x = losses.double()
    if bool(x.isnan().any()):
        raise InputError(
            f"size {int(x.isnan().any(dim=1).int().argmax())} has no loss (NaN) in some row; every "
            "size is scored on the same rows"
        )
    means = x.mean(dim=1)
    if not bool(means.isfinite().any()):
        raise InputError(
            "no size has finite losses; lower the learning rate (retrain.learning_rate)"
        )
    best = int(means.argmin())  # the first of equal ones
    d = x - x[best]  # (B, n)
    errors = d.std(dim=1, unbiased=True) / math.sqrt(x.shape[1])  # sd(d_b) / sqrt(n)
    differences = means - means[best]
    within = means.isfinite() & (differences <= errors)
    return AsGood(
        tuple(means.tolist()),
        tuple(differences.tolist()),
        tuple(errors.tolist()),
        best,
        int(within.int().argmax()),
    )
