"""Jobs in one pass end where their own retrainings, by the Trainer, end."""

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
import torch
from peft import set_peft_model_state_dict
from torch import Tensor, nn

from autolora_meta.errors import InputError
from autolora_meta.finetuning.prepare import Prepared
from autolora_meta.finetuning.retrain import RetrainResult, retrain
from autolora_meta.finetuning.stacked import adapter_state
from autolora_meta.finetuning.stacked_batches import batches
from autolora_meta.finetuning.stacked_jobs import Job
from autolora_meta.finetuning.stacked_retrain import Trained, retrain_stacked
from autolora_meta.finetuning.start import Start
from autolora_meta.finetuning.tasks import Task
from autolora_meta.finetuning.tasks.sequence_classification import SequenceClassification
from tests.finetuning.stacked_cases import Make


def stock(job: Job, **given: object) -> RetrainResult:
    return retrain(job.prepared, job.pattern, job.options, seed=job.seed, start=job.start, **given)  # type: ignore[arg-type]


def trained(jobs: list[Job], **given: object) -> list[Trained]:
    results = retrain_stacked(jobs, **given)  # type: ignore[arg-type]
    assert all(isinstance(result, Trained) for result in results)
    return results  # type: ignore[return-value]


def same_weights(result: Trained, expected: RetrainResult) -> None:
    state = adapter_state(expected.model)
    assert result.state.keys() == state.keys()
    for name, value in result.state.items():
        assert torch.allclose(value, state[name], rtol=0, atol=1e-9), name


def test_each_job_ends_where_its_own_retraining_ends(make: Make) -> None:
    jobs = [
        make(),
        make((4, 1, 0, 1), seed=1, rows=51, weight_decay=0.1, max_grad_norm=0.5),
        make((2, 2, 2, 2), seed=2, steps=13, schedule="cosine", learning_rate=3e-3, warmup=0.3),
        make((2, 2, 2, 2), seed=2, schedule="constant", batch_size=7),
    ]
    for job, result in zip(jobs, trained(jobs), strict=True):
        expected = stock(job)
        same_weights(result, expected)
        assert result.metrics == pytest.approx(expected.metrics, abs=1e-9)
        assert result.parameters == expected.parameters == job.pattern.parameters
        assert [row["step"] for row in result.log] == [row["step"] for row in expected.log]
        for key, near in (("loss", 1e-6), ("learning_rate", 1e-12)):  # it logs in float32
            given = [row[key] for row in result.log]
            assert given == pytest.approx([row[key] for row in expected.log], abs=near)


def test_all_are_tested_in_one_pass_as_each_alone(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs = [make(steps=2), make(steps=2, seed=1), make(steps=2, seed=2, rows=20)]
    alone: list[int] = []
    evaluate = Prepared.evaluate

    def counting(prepared: Prepared, *given: Any) -> dict[str, float]:
        alone.append(len(given[1]))
        return evaluate(prepared, *given)

    monkeypatch.setattr(Prepared, "evaluate", counting)
    together = trained(jobs)
    assert alone == [20]  # it has fewer test rows than the others, which share a pass

    class Own(SequenceClassification):
        def evaluate(self, *given: Any) -> dict[str, float]:
            return super().evaluate(*given)

    task = jobs[0].prepared.task
    own = Own(task.labels, 16)
    apart = trained([replace(job, prepared=replace(job.prepared, task=own)) for job in jobs])
    assert len(alone) == 1 + 3
    for one, other in zip(together, apart, strict=True):
        assert one.metrics == pytest.approx(other.metrics, abs=1e-9)


def test_a_job_starts_where_a_search_ended(make: Make) -> None:
    job = make(seed=3)
    torch.manual_seed(0)
    updates = [(torch.randn(16, 4), torch.randn(4, 16)) for _ in job.pattern.names]
    left, right = (
        {n: u[i] for n, u in zip(job.pattern.names, updates, strict=True)} for i in (0, 1)
    )
    head = "base_model.model.classifier.modules_to_save.default.bias"
    start = Start(left, right, {head: torch.ones(3)}, scale=2.0, seed=3)
    jobs = [replace(job, start=start), make((2, 2, 2, 2), seed=3)]
    for one, result in zip(jobs, trained(jobs), strict=True):
        same_weights(result, stock(one))


def test_stock_peft_loads_what_was_trained(make: Make) -> None:
    jobs = [make(steps=3), make((0, 2, 0, 0), steps=3)]
    results = trained(jobs)
    for job, result in zip(jobs, results, strict=True):
        model = stock(replace(job, options=job.options.model_copy(update={"steps": 1}))).model
        assert not set_peft_model_state_dict(model, result.state).unexpected_keys
        metrics = job.prepared.evaluate(model, job.prepared.rows["test"], 64)  # type: ignore[arg-type]
        assert metrics == pytest.approx(result.metrics, abs=1e-9)


def test_the_models_of_the_jobs_are_as_before_and_so_is_the_random_state(make: Make) -> None:
    jobs = [make(steps=4), make(steps=4, seed=1)]
    before = [{n: p.clone() for n, p in job.prepared.model.state_dict().items()} for job in jobs]
    torch.manual_seed(5)
    state = torch.get_rng_state()
    one = trained(jobs, dropout=0.2)
    assert torch.equal(torch.get_rng_state(), state)
    for job, numbers in zip(jobs, before, strict=True):
        after = job.prepared.model.state_dict()
        assert after.keys() == numbers.keys()
        assert all(torch.equal(after[name], value) for name, value in numbers.items())
    again = trained(jobs, dropout=0.2)
    assert [result.log for result in again] == [result.log for result in one]
    assert again[0].log != trained(jobs)[0].log


def test_a_job_whose_loss_is_no_number_does_not_harm_the_others(make: Make) -> None:
    wild = {"learning_rate": 1e30, "weight_decay": 1e30, "warmup": 0.0}
    lost, kept = retrain_stacked([make(**wild), make(seed=1)])
    assert isinstance(lost, InputError) and "loss of the retraining is nan" in str(lost)
    assert isinstance(kept, Trained)
    same_weights(kept, stock(make(seed=1)))


@pytest.mark.filterwarnings("ignore:.*use of fork:DeprecationWarning")
def test_batches_that_other_processes_collate_are_the_same(make: Make) -> None:
    jobs = [make(rows=30), make(rows=20, seed=1, steps=5)]
    orders, device = [job.order() for job in jobs], torch.device("cpu")
    here = list(batches(jobs, orders, device, workers=0))
    beside = list(batches(jobs, orders, device, workers=2))
    assert len(here) == len(beside) > 20  # at ends of epochs, batches of two sizes
    for one, other in zip(here, beside, strict=True):
        assert one.keys() == other.keys()
        assert all(torch.equal(rows, other[name]) for name, rows in one.items())
    labels = jobs[0].rows["labels"]
    assert here[0]["labels"][:16].tolist() == [labels[i] for i in orders[0][0]]


def test_progress_counts_the_steps_of_all(make: Make) -> None:
    seen: list[Any] = []

    class Watcher:
        def start(self, label: str, total: float) -> None:
            seen.append((label, total))

        def step(self, loss: float | None = None, work: float = 1) -> None:
            seen.append((loss, work))

        def close(self) -> None:
            seen.append("closed")

    trained([make(steps=12), make(steps=3)], progress=Watcher())
    assert seen[0] == ("retrain", 15) and seen[-1] == "closed"
    assert [work for _, work in seen[1:-1]] == [2] * 3 + [1] * 9
    assert math.isfinite(seen[10][0])


def test_jobs_that_cannot_share_a_pass_are_refused(make: Make, task: Task) -> None:
    one = make()
    other = make()
    with torch.no_grad():
        other.prepared.model.get_parameter("bert.embeddings.word_embeddings.weight")[0, 0] += 1
    with pytest.raises(InputError, match="different bases"):
        retrain_stacked([one, other])
    with pytest.raises(InputError, match="different layers or scales"):
        retrain_stacked([one, replace(one, pattern=replace(one.pattern, scale=1.0))])
    with pytest.raises(InputError, match="group_by_length"):
        retrain_stacked([one, make(group_by_length=True)])
    with pytest.raises(InputError, match="reads padding"):
        retrain_stacked([one, replace(one, prepared=replace(one.prepared, padding_hidden=False))])

    class Squares(SequenceClassification):
        def loss(self, model: nn.Module, batch: Mapping[str, Any]) -> Tensor:
            return (model(**batch).logits ** 2).mean()

    squares = replace(one.prepared, task=Squares(task.labels, 16))
    with pytest.raises(InputError, match="different tasks"):
        retrain_stacked([one, replace(one, prepared=squares)])
    with pytest.raises(InputError, match="no mean over rows"):
        retrain_stacked([replace(one, prepared=squares)] * 2)
