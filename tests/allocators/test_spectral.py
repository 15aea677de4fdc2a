"""Spectral: the effective rank of the whitened gradient, against dense computations in float64."""

from typing import Any

import pytest
import torch
from datasets import Dataset
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from autolora_meta.allocators import spectral
from autolora_meta.allocators.allocation import allocation
from autolora_meta.allocators.inputs import input_rows, patch_rows
from autolora_meta.allocators.replicate import Replicate
from autolora_meta.foundation.cost import Cost
from tests.allocators.planted import blocks, planted, replicate_of


def dense(gradient: Tensor, rows: Tensor, damping: float) -> float:
    """The effective rank by another way: G R^-1 with C + lambda I = R^T R, from a QR of the rows.

    R = Q (C + lambda I)^(1/2) with an orthogonal Q, so that the singular values are those of M.
    """
    width = rows.shape[1]
    stacked = torch.cat([rows / len(rows) ** 0.5, damping**0.5 * torch.eye(width).double()])
    r = torch.linalg.qr(stacked, mode="r").R
    values = torch.linalg.svdvals(
        torch.linalg.solve_triangular(r, gradient, upper=True, left=False)
    )
    share = values.square() / values.square().sum()
    return float((-(share * share.log()).sum()).exp())


@pytest.mark.parametrize("shape", [(5, 7), (7, 5)])
def test_effective_rank_is_that_of_a_dense_whitening(shape: tuple[int, int]) -> None:
    torch.manual_seed(0)
    gradient = torch.randn(shape, dtype=torch.float64)
    rows = torch.randn(40, shape[1], dtype=torch.float64) @ torch.randn(shape[1], shape[1]).double()
    moment = rows.T @ rows / len(rows)
    found = spectral.effective_rank(gradient, moment, 0.05)
    assert found == pytest.approx(dense(gradient, rows, 0.05), rel=1e-10)
    # and whitening matters: the plain gradient has another
    plain = spectral.effective_rank(gradient, torch.eye(shape[1]).double(), 0.0)
    assert abs(found - plain) > 0.1


def test_equal_singular_values_count_one_each_and_no_gradient_none() -> None:
    eye = torch.eye(6, dtype=torch.float64)
    for rank in range(1, 7):
        gradient = 3.0 * eye * (torch.arange(6) < rank)
        assert spectral.effective_rank(gradient, eye, 0.1) == pytest.approx(rank)
    assert spectral.effective_rank(0.0 * eye, eye, 0.1) == 0.0


def test_directions_that_inputs_hardly_take_are_stretched() -> None:
    # Inputs of length 1 and 1/10, and a gradient as small along the second: M is the identity.
    moment = torch.tensor([1.0, 0.01], dtype=torch.float64).diag()
    gradient = torch.tensor([1.0, 0.1], dtype=torch.float64).diag()
    assert spectral.effective_rank(gradient, moment, 0.0) == pytest.approx(2.0)
    assert spectral.effective_rank(gradient, torch.eye(2).double(), 0.0) < 1.1


def test_gradient_and_inputs_are_those_of_the_training_rows() -> None:
    replicate = planted()
    before = {name: w.clone() for name, w in replicate.prepared.model.state_dict().items()}
    found = spectral.effective_ranks(replicate)
    # 16 batches of 16 are 4 times the 64 training rows
    rows = replicate.prepared.rows["train"].with_format("torch")
    model, x = replicate.prepared.model.double(), rows[:]["x"].double()
    weights = [layer.weight for layer in blocks(replicate)]
    loss = (model(x) - rows[:]["y"].double()).square().mean()  # pyright: ignore
    expected = []
    for g, part in zip(torch.autograd.grad(loss, weights), x.split(6, dim=1), strict=True):
        damping = spectral.DAMPING * float(part.square().sum(dim=1).mean()) / 6
        expected.append(dense(g, part, damping) if g.norm() > 1e-9 else 0.0)
    # the third layer has nothing to learn: its gradient is rounding
    assert found[:2].tolist() == pytest.approx(expected[:2], rel=1e-4)
    model.float()
    assert all(torch.equal(model.state_dict()[name], w) for name, w in before.items())
    assert not blocks(replicate)[0]._forward_hooks


def test_it_costs_its_gradients() -> None:
    found = allocation(spectral.ALLOCATOR, planted())
    assert found.spent.cost == Cost(forwards=16, backwards=16)
    assert found.pattern.total_rank == 4


def test_hidden_tokens_do_not_count() -> None:
    states = torch.arange(12.0).view(2, 3, 2)
    mask = torch.tensor([[1, 1, 0], [1, 0, 0]])
    rows = input_rows((states,), {"attention_mask": mask})
    assert rows.tolist() == [[0, 1], [2, 3], [6, 7]]
    assert len(input_rows((states,), {})) == 6


@pytest.mark.parametrize(
    "settings",
    [
        {"stride": 2, "padding": 1},
        {"padding": (1, 0), "padding_mode": "circular"},
    ],
)
def test_patches_times_weight_is_the_convolution(settings: dict[str, Any]) -> None:
    torch.manual_seed(0)
    conv = nn.Conv2d(2, 3, (3, 2), bias=False, **settings).double()
    images = torch.randn(4, 2, 7, 8, dtype=torch.float64)
    rows = patch_rows(conv, images) @ conv.weight.flatten(1).T
    expected = conv(images).flatten(2).mT.flatten(0, 1)
    torch.testing.assert_close(rows, expected)


class Mixed(nn.Module):
    """A convolution and GPT-2's kind of linear layer, whose weight is transposed."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 6, 2, bias=False)
        self.linear = Conv1D(4, 6)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(self.conv(x.view(-1, 2, 3, 3)).flatten(2).mT.contiguous()).mean(dim=1)


def mixed() -> Replicate:
    torch.manual_seed(0)
    data = {"x": torch.randn(64, 18).tolist(), "y": torch.randn(64, 4).tolist()}
    names = {"lora": {"targets": ["conv", "linear"], "k": 3}}
    return replicate_of(Mixed(), Dataset.from_dict(data), names, "ranks.budget=total-rank:4")


def test_a_convolution_is_read_by_patches_and_a_transposed_weight_as_it_acts() -> None:
    replicate = mixed()
    found = spectral.effective_ranks(replicate)
    rows = replicate.prepared.rows["train"].with_format("torch")
    x, y = (rows[:][key].double() for key in ("x", "y"))
    model: Any = replicate.prepared.model.double()
    patches = x.view(-1, 2, 3, 3).unfold(2, 2, 1).unfold(3, 2, 1)  # (N, 2, 2, 2, 2, 2)
    patches = patches.permute(0, 2, 3, 1, 4, 5).reshape(-1, 8)
    loss = (model(x) - y).square().mean()
    conv, linear = torch.autograd.grad(loss, [model.conv.weight, model.linear.weight])
    middle = patches @ model.conv.weight.flatten(1).T
    expected = []
    for gradient, inputs in ((conv.flatten(1), patches), (linear.T, middle)):
        damping = spectral.DAMPING * float(inputs.detach().square().mean())
        expected.append(dense(gradient, inputs.detach(), damping))
    assert found.tolist() == pytest.approx(expected, rel=1e-4)
