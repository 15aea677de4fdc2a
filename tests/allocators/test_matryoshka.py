"""Matryoshka: nested components, each with a fixed weight."""

import pytest
import torch

from autolora_meta.allocators import matryoshka
from autolora_meta.allocators.allocation import allocation
from autolora_meta.allocators.dylora import keep
from autolora_meta.allocators.training import Training, peer_steps
from tests.allocators.planted import RANKS, planted


@pytest.mark.parametrize("k", [1, 4, 7])
def test_the_diagonal_is_the_mean_of_dyloras_masks(k: int) -> None:
    masks = torch.stack([(torch.arange(k) < b).double() for b in range(1, k + 1)])
    torch.testing.assert_close(matryoshka.diagonal(k).double(), masks.mean(dim=0))


def test_a_rank_keeps_the_weights_of_its_components() -> None:
    logits = torch.zeros(2, 3)
    keep(logits, 2, torch.tensor([1.0, 0.5, 0.25]))
    assert (1 + logits).tolist() == [[1.0, 0.5, 0.0]] * 2


def test_planted_ranks_are_found_at_the_cost_of_the_search() -> None:
    replicate = planted()
    found = allocation(matryoshka.ALLOCATOR, replicate)
    assert found.pattern.ranks == RANKS
    assert found.spent.cost.backwards == peer_steps(replicate.config)


def test_every_step_moves_every_component_by_its_weight(monkeypatch: pytest.MonkeyPatch) -> None:
    """At B = 0 the gradient of column j of B is p_j times that of plain LoRA."""
    seen: list[torch.Tensor] = []
    step = Training.step

    def watched(self: Training) -> None:
        step(self)
        if not seen:
            named = self._model.named_parameters()
            seen.extend(p.grad.clone() for n, p in named if "lora_B" in n and p.grad is not None)

    monkeypatch.setattr(Training, "step", watched)
    short = "search={outer_steps: 1, warmup_steps: 0, batch_size: 16, outer_batch_size: 16}"
    matryoshka.scores(planted(short))
    weighted = [*seen]
    seen.clear()
    monkeypatch.setattr(matryoshka, "diagonal", torch.ones)
    matryoshka.scores(planted(short))
    assert len(weighted) == len(seen) == 3
    for with_weights, plain in zip(weighted, seen, strict=True):
        torch.testing.assert_close(with_weights, plain * torch.tensor([1.0, 0.75, 0.5, 0.25]))
