"""Peers that train nothing: what they measure has a closed form, and ranks follow from it."""

import pytest
import torch
from datasets import Dataset

from autolora_meta.allocators import eva, gora, prilora, random_ranks, sara
from autolora_meta.allocators.allocation import allocation
from autolora_meta.allocators.replicate import Replicate, allocator
from autolora_meta.allocators.scored import by_scores, in_proportion
from autolora_meta.errors import InputError
from autolora_meta.foundation.cost import Cost
from autolora_meta.ranks.pattern import RankPattern
from tests.allocators.planted import Layers, blocks, planted, replicate_of


def layers_of(*widths: int, rows: torch.Tensor | None = None, budget: object) -> Replicate:
    """Linear layers of these widths, side by side; targets are random."""
    torch.manual_seed(0)
    x = torch.randn(64, sum(widths)) if rows is None else rows
    data = Dataset.from_dict({"x": x.tolist(), "y": torch.randn(x.shape).tolist()})
    return replicate_of(Layers(widths), data, f"ranks.budget={budget}")


@pytest.mark.parametrize("arm", ["uniform", "uniform_longer", "random", "prilora", "eva"])
def test_no_arm_has_more_than_the_largest_rank(arm: str) -> None:
    replicate = layers_of(4, 8, budget="uniform:3")
    ranks = replicate.config.ranks.model_copy(update={"max_rank": 2})
    replicate.config = replicate.config.model_copy(update={"ranks": ranks})
    pattern = allocation(allocator(arm), replicate).pattern
    assert pattern.ranks == (2, 2) and pattern.k == 4


def test_scores_are_spent_at_the_budget_in_parameters() -> None:
    replicate = layers_of(4, 8, budget=40)  # a rank costs 8 and 16
    pattern = by_scores(replicate, torch.tensor([[0.1, 0.9, 0.2, 0.3], [1.0, 0.5, 0.0, -1.0]]))
    assert pattern.ranks == (1, 2)  # 1.0, 0.9 and 0.5 cost 16, 8 and 16
    assert pattern.scale == 1.0 and pattern.k == 4


def test_ranks_in_proportion_are_rounded_with_one_factor() -> None:
    replicate = layers_of(4, 4, 4, budget="total-rank:6")
    assert in_proportion(replicate, torch.tensor([1.0, 2.0, 3.0])).ranks == (1, 2, 3)
    assert in_proportion(replicate, torch.tensor([0.0, 1.0, 100.0])).ranks == (0, 2, 4)  # k is 4


def random_pattern(seed: int) -> RankPattern:
    return random_ranks.ALLOCATOR.allocate(planted("ranks.budget=total-rank:6", seed=seed))


def test_random_ranks_are_at_the_budget_and_differ_between_seeds() -> None:
    patterns = {random_pattern(s) for s in range(8)}
    assert len(patterns) > 3 and {p.total_rank for p in patterns} == {6}
    assert random_pattern(3) in patterns


def test_random_ranks_favour_no_layer() -> None:
    drawn = [random_pattern(s) for s in range(40)]
    mean = torch.tensor([p.ranks for p in drawn]).double().mean(dim=0)
    assert (mean - 2).abs().max() < 0.5  # sd of a mean is 0.15


def test_prilora_grows_linearly_with_depth() -> None:
    # 4, 8 and 12 of the paper at half its mean
    replicate = layers_of(4, 4, 4, budget="total-rank:6")
    assert prilora.ALLOCATOR.allocate(replicate).ranks == (1, 2, 3)


def test_prilora_counts_blocks_not_layers() -> None:
    names = ("e.layer.0.q", "e.layer.0.o.1", "e.layer.1.q", "e.layer.1.o.1", "pooler.dense")
    assert prilora.depths(names) == [0, 0, 1, 1, 2]


def test_sara_holds_one_share_of_the_mass_of_every_weight() -> None:
    spectra = torch.tensor([[9.0, 1.0, 0, 0], [4.0, 3.0, 2.0, 1.0], [1.0, 1.0, 1.0, 1.0]])
    replicate = layers_of(4, 4, 4, budget="total-rank:7")
    for layer, spectrum in zip(blocks(replicate), spectra, strict=True):
        left, right = (torch.linalg.qr(torch.randn(4, 4)).Q for _ in range(2))
        layer.weight.data = left @ spectrum.diag() @ right
    held = spectra.cumsum(dim=1) / 10 / torch.tensor([[1.0], [1.0], [0.4]])
    ranks = [int((row < 0.74).sum()) + 1 for row in held]  # the directions that hold 74%
    assert sara.ALLOCATOR.allocate(replicate).ranks == tuple(ranks) == (1, 3, 3)


def test_gora_measures_gradient_times_weight() -> None:
    replicate = planted()
    found = gora.importance(replicate)
    # 64 batches of 16 are 16 times the 64 training rows: the mean gradient is that of all
    model, rows = replicate.prepared.model, replicate.prepared.rows["train"].with_format("torch")
    weights = [layer.weight.requires_grad_() for layer in blocks(replicate)]
    loss = (model(rows[:]["x"]) - rows[:]["y"]).square().mean()
    gradients = torch.autograd.grad(loss, weights)
    expected = [(w * g).abs().mean().item() for w, g in zip(weights, gradients, strict=True)]
    assert found.tolist() == pytest.approx(expected, rel=1e-4, abs=1e-9)
    assert found.argsort(descending=True).tolist() == [0, 1, 2]  # as the planted ranks


def test_gora_costs_its_gradients_and_leaves_the_model_as_it_was() -> None:
    replicate = planted()
    found = allocation(gora.ALLOCATOR, replicate)
    assert found.spent.cost == Cost(forwards=64, backwards=64)
    assert found.pattern.total_rank == 4
    parameters = list(replicate.prepared.model.parameters())
    assert all(p.requires_grad and p.grad is None for p in parameters)


def test_gora_refuses_weights_that_it_cannot_read() -> None:
    replicate = planted()
    _ = replicate.layers  # found by a forward pass, which this weight has not
    layer = blocks(replicate)[0]
    layer.weight = torch.nn.Parameter(layer.weight.data.to(torch.int8), requires_grad=False)
    for peer in (gora, sara):
        with pytest.raises(InputError, match="quantised"):
            peer.ALLOCATOR.allocate(replicate)


def test_eva_reads_the_variance_that_directions_explain() -> None:
    torch.manual_seed(1)
    spectra = torch.tensor([[10.0, 9.0, 8.0, 0.1], [10.0, 0.1, 0.1, 0.1]])
    parts = []
    for spectrum in spectra:
        exact = torch.linalg.qr(torch.randn(64, 4)).Q  # columns of one length
        parts.append(exact * spectrum @ torch.linalg.qr(torch.randn(4, 4)).Q)
    data = torch.cat(parts, dim=1)
    replicate = layers_of(4, 4, rows=torch.cat([data, data]), budget="total-rank:4")
    found = eva.explained_variance(replicate)
    expected = spectra.square() / spectra.square().sum(dim=1, keepdim=True)
    torch.testing.assert_close(found, expected.double(), atol=0.08, rtol=0.0)
    assert eva.ALLOCATOR.allocate(replicate).ranks == (3, 1)
    assert replicate.cost.forwards >= 2 and replicate.cost.backwards == 0


def test_eva_says_when_a_batch_is_too_small() -> None:
    torch.manual_seed(0)
    x = torch.randn(16, 4).tolist()
    data = Dataset.from_dict({"x": x, "y": x})
    small = {"search": {"batch_size": 2, "outer_batch_size": 2, "outer_steps": 1}}
    replicate = replicate_of(Layers((4,)), data, small)
    with pytest.raises(InputError, match=r"search\.batch_size"):
        eva.ALLOCATOR.allocate(replicate)
