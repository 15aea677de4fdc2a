"""FIM: the mean square of the gradient of B at the start, in closed form."""

import pytest
import torch

from autolora_meta.allocators import fim
from autolora_meta.allocators.allocation import allocation
from autolora_meta.allocators.training import plain_lora
from autolora_meta.bilevel.gating import lora_factors
from autolora_meta.foundation.cost import Cost
from tests.allocators.planted import WIDTH, blocks, planted


def test_information_of_b_in_closed_form() -> None:
    # One batch holds all training rows, so that every pass sees the same gradient.
    whole = "search={batch_size: 64, outer_batch_size: 64, outer_steps: 60, warmup_steps: 20}"
    replicate = planted(whole)
    found = fim.information(replicate)
    with plain_lora(replicate) as (_, model, gates):
        starts = [a.detach().double() for a, _ in lora_factors(model, gates.names)]
    rows = replicate.prepared.rows["train"].with_format("torch")
    x, y = (rows[:][key].double() for key in ("x", "y"))
    parts = zip(blocks(replicate), starts, x.split(WIDTH, 1), y.split(WIDTH, 1), strict=True)
    expected = []
    for layer, a, part, target in parts:
        residual = part @ layer.weight.detach().double().T - target
        # g = mean |W x + B A x - y|^2 over n entries:  dg/dB = (2 / n) sum r (A x)^T at B = 0
        gradient = 2 / y.numel() * residual.T @ (part @ a.T)
        expected.append(float(gradient.square().mean()))
    assert found.tolist() == pytest.approx(expected, rel=1e-4, abs=1e-12)


def test_it_costs_eight_passes_and_finds_the_layers_that_must_change() -> None:
    replicate = planted()
    before = {name: w.clone() for name, w in replicate.prepared.model.state_dict().items()}
    found = allocation(fim.ALLOCATOR, replicate)
    assert found.spent.cost == Cost(forwards=8, backwards=8)
    assert found.pattern.total_rank == 4 and found.pattern.ranks[2] == 0
    after = replicate.prepared.model.state_dict()
    assert after.keys() == before.keys()
    assert all(torch.equal(after[name], w) for name, w in before.items())
