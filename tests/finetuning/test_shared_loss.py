"""The losses that processes take of their rows sum to the loss of the batch."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, mse_loss

from autolora_meta.errors import InputError
from autolora_meta.finetuning.shared_loss import SharedLoss, shared

Batch = dict[str, Tensor]


@pytest.fixture
def model() -> nn.Module:
    torch.manual_seed(0)
    return nn.Linear(3, 4, dtype=torch.float64)


def batch(rows: int, lengths: list[int]) -> Batch:
    """Rows of 5 tokens, of which so many from the left have a label."""
    x = torch.randn(rows, 5, 3, dtype=torch.float64)
    labels = torch.randint(4, (rows, 5))
    for row, length in enumerate(lengths):
        labels[row, length:] = -100
    return {"x": x, "labels": labels}


def of_labels(model: Any, given: Batch) -> Tensor:
    return cross_entropy(model(given["x"]).flatten(0, 1), given["labels"].flatten())


def of_shifted(model: Any, given: Batch) -> Tensor:
    return cross_entropy(model(given["x"])[:, :-1].flatten(0, 1), given["labels"][:, 1:].flatten())


def of_rows(model: Any, given: Batch) -> Tensor:
    return mse_loss(model(given["x"]).mean((1, 2)), given["labels"][:, 0].double())


def of_rows_and_labels(model: Any, given: Batch) -> Tensor:
    return of_labels(model, given) * of_rows(model, given)


def gradient(model: nn.Module, loss: Tensor) -> Tensor:
    return torch.autograd.grad(loss, model.weight)[0]  # type: ignore[call-overload]


@pytest.mark.parametrize("loss", [of_labels, of_shifted, of_rows])
@pytest.mark.parametrize(("rows", "count"), [(6, 2), (6, 3), (5, 3), (2, 3)])
def test_the_shares_sum_to_the_loss_of_the_batch(
    model: nn.Module, loss: Callable[..., Tensor], rows: int, count: int
) -> None:
    each = [SharedLoss(loss, rank, count) for rank in range(count)]
    # Of the second batch the rows of one process have no label at all.
    for lengths in ([5, 2, 3, 4, 1, 5], [0, 0, 5, 4, 2, 3]):
        given = batch(rows, lengths[:rows])
        if loss is of_rows:
            given["labels"] = given["labels"].clamp(min=0)
        whole = loss(model, given)
        shares = [one(model, given) for one in each]
        torch.testing.assert_close(sum(shares), whole, rtol=1e-12, atol=1e-12, equal_nan=True)
        if bool(whole.isfinite()):
            parts = sum(gradient(model, share) for share in shares)
            torch.testing.assert_close(parts, gradient(model, whole), rtol=1e-11, atol=1e-12)


def test_rows_of_one_length_do_not_decide_what_the_loss_is_a_mean_of(model: nn.Module) -> None:
    each = [SharedLoss(of_labels, rank, 2) for rank in (0, 1)]
    for lengths in ([5, 5, 5, 5], [1, 5, 2, 5]):
        given = batch(4, lengths)
        found = sum(one(model, given) for one in each)
        torch.testing.assert_close(found, of_labels(model, given), rtol=1e-12, atol=1e-12)


def test_a_loss_that_is_no_mean_is_refused(model: nn.Module) -> None:
    with pytest.raises(InputError, match="cannot be shared out among 2 processes"):
        SharedLoss(of_rows_and_labels, 0, 2)(model, batch(4, [5, 2, 3, 4]))


def test_a_batch_without_rows_is_refused(model: nn.Module) -> None:
    given = {**batch(4, [5, 5, 5, 5]), "pixels": torch.zeros(9, 2)}
    with pytest.raises(InputError, match=r"cannot be cut .* \[4, 9\]"):
        SharedLoss(of_labels, 0, 2)(model, given)


def test_processes_draw_masks_of_their_own_and_stay_in_step() -> None:
    def noisy(model: Any, given: Batch) -> Tensor:
        return torch.rand(()).double()

    given, drawn = batch(4, [5, 5, 5, 5]), []
    for rank in (0, 1):
        torch.manual_seed(7)
        own = SharedLoss(noisy, rank, 2)
        own._tried, own._weighing = True, "rows"
        drawn.append([own(None, given).item(), own(None, given).item(), torch.rand(()).item()])  # type: ignore[arg-type]
    (first, second, after), (other, another, then) = drawn
    assert len({first, second, other, another}) == 4
    assert after == then


def test_one_process_takes_the_loss_itself() -> None:
    assert shared(of_rows) is of_rows
