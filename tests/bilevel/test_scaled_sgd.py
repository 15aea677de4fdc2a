"""ScaledSGD: the scale of the gradient does not matter, its course does."""

import pytest
import torch
from torch import Tensor

from autolora_meta.bilevel.options import OuterOptimizerOptions
from autolora_meta.bilevel.scaled_sgd import ScaledSGD


def after(gradients: list[list[float]], scale: float = 1.0) -> Tensor:
    parameter = torch.nn.Parameter(torch.zeros(3, dtype=torch.float64))
    chosen = OuterOptimizerOptions.model_validate({"name": "scaled_sgd", "learning_rate": 0.5})
    optimizer = chosen.build([parameter])
    assert isinstance(optimizer, ScaledSGD)
    for gradient in gradients:
        parameter.grad = scale * torch.tensor(gradient, dtype=torch.float64)
        optimizer.step()
    return parameter.detach()


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
def test_a_typical_entry_moves_by_the_rate_whatever_the_scale(scale: float) -> None:
    # Entries that are 0, of rows that were not drawn, count for nothing.
    torch.testing.assert_close(
        after([[3.0, -3.0, 0.0]], scale), torch.tensor([-0.5, 0.5, 0.0]).double()
    )


def test_small_gradients_move_less_after_large_ones() -> None:
    moved = after([[0.0, 4.0, 0.0], [0.0, 0.0, 1.0], [2.0, 0.0, 0.0]])
    torch.testing.assert_close(moved, torch.tensor([-0.25, -0.5, -0.125]).double())


def test_no_gradient_at_all_moves_nothing() -> None:
    assert torch.equal(after([[0.0, 0.0, 0.0]]), torch.zeros(3).double())
