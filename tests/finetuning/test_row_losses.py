"""A row's loss is that of a batch that holds it alone, however rows are put together."""

from dataclasses import replace

import pytest
import torch
from datasets import Dataset
from torch import Tensor, nn

from autolora_meta.finetuning.retrain import retrain
from autolora_meta.finetuning.row_losses import row_losses
from autolora_meta.finetuning.stacked_retrain import Trained, retrain_stacked
from autolora_meta.finetuning.tasks.sequence_classification import SequenceClassification
from tests.finetuning.stacked_cases import CASES, Make, model_loss, wrapped


@pytest.mark.parametrize("case", ["encoder", "tags", "language model"])
def test_losses_are_those_of_batches_of_one(case: str) -> None:
    torch.manual_seed(0)
    base, targets, head, rows_of = CASES[case]
    model, batch = wrapped(base(), 2, targets, head).eval(), rows_of(10)
    rows = Dataset.from_dict({name: part.tolist() for name, part in batch.items()})

    def collate(given: list[dict[str, list[int]]]) -> dict[str, Tensor]:
        seen.append(len(given))
        return {name: torch.tensor([row[name] for row in given]) for name in given[0]}

    seen: list[int] = []
    found = row_losses(model, model_loss, rows, collate, 4)
    assert max(seen) == 4
    with torch.no_grad():
        alone = [
            model_loss(model, {n: part[i : i + 1] for n, part in batch.items()}) for i in range(10)
        ]
    near = 1e-6 if case == "language model" else 1e-12  # it takes its loss in float32
    assert torch.allclose(found, torch.stack(alone).double(), rtol=0, atol=near)
    assert found.dtype == torch.float64


class Squares(nn.Module):
    """Each row's loss is the square of its number; `mixed` adds the spread of the batch."""

    def __init__(self, mixed: bool) -> None:
        super().__init__()
        self.weight, self.mixed = nn.Parameter(torch.ones(1, dtype=torch.float64)), mixed

    def forward(self, x: Tensor) -> Tensor:
        x = x * self.weight + (x.std(correction=0) if self.mixed else 0)
        return nn.functional.mse_loss(x, torch.zeros_like(x)) if self.mixed else x.square().mean()


@pytest.mark.parametrize("mixed", [True, False])
def test_rows_that_see_each_other_or_share_a_loss_of_its_own_are_scored_apart(mixed: bool) -> None:
    numbers = [3.0, -1.0, 2.0, 0.5]
    rows = Dataset.from_dict({"x": numbers})
    found = row_losses(
        Squares(mixed),
        lambda model, batch: model(batch["x"]),
        rows,
        lambda given: {"x": torch.tensor([row["x"] for row in given], dtype=torch.float64)},
        3,
    )
    assert found.tolist() == [number**2 for number in numbers]


def test_a_stack_and_a_retraining_measure_the_same_rows_alike(make: Make) -> None:
    jobs = [replace(make(steps=3, seed=seed), by_row=True) for seed in (0, 1)]
    for job, end in zip(jobs, retrain_stacked([*jobs, make(steps=3)]), strict=False):
        alone = retrain(job.prepared, job.pattern, job.options, seed=job.seed, by_row=True)
        assert isinstance(end, Trained) and end.metrics == alone.metrics == {}
        assert end.losses is not None and alone.losses is not None
        assert torch.allclose(end.losses, alone.losses, rtol=0, atol=1e-9)
        # the mean over rows is the metric that the task has for its loss
        assert isinstance(job.prepared.task, SequenceClassification)
        whole = retrain(job.prepared, job.pattern, job.options, seed=job.seed)
        assert float(end.losses.mean()) == pytest.approx(whole.metrics["cross_entropy"], abs=1e-6)
