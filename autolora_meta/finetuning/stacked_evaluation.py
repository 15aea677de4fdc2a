"""What the adapters of a stack are worth on their test rows: metrics, or the loss of each row."""

from collections import defaultdict
from collections.abc import Iterator, Sequence

import numpy as np
import torch

from autolora_meta.finetuning.evaluation import by_length
from autolora_meta.finetuning.stacked import Stack
from autolora_meta.finetuning.stacked_jobs import Job
from autolora_meta.finetuning.tasks.one_answer import OneAnswer


def metrics_of_each(
    stack: Stack, jobs: Sequence[Job], chosen: Sequence[int]
) -> dict[int, dict[str, float]]:
    """Return the number of a job -> its metrics on its test rows.

    Those with as many test rows as others are tested with them, to the metrics of each alone but
    for rounding; those whose task generates, say, one after the other.

    Args:
        stack: after training.
        jobs: of the stack.
        chosen: numbers of the jobs to test.
    """
    alike: dict[int, list[int]] = defaultdict(list)
    for r in chosen:
        alike[len(jobs[r].prepared.rows["test"])].append(r)
    model, found = stack.model.eval(), dict[int, dict[str, float]]()
    task = jobs[0].prepared.task
    for group in alike.values():
        if len(group) > 1 and isinstance(task, OneAnswer) and _by_answers(task):
            with stack.only(group):
                answers = _answers(stack, [jobs[r] for r in group])
            found |= {r: task.measure(*one) for r, one in zip(group, answers, strict=True)}
            continue
        for r in group:
            prepared, size = jobs[r].prepared, jobs[r].options.eval_batch_size
            with stack.only([r]):
                found[r] = prepared.evaluate(model, prepared.rows["test"], size)  # pyright: ignore[reportArgumentType]
    return found


def losses_of_rows(
    stack: Stack, jobs: Sequence[Job], chosen: Sequence[int]
) -> dict[int, torch.Tensor]:
    """Return the number of a job -> the loss of each of its test rows. (n,) float64

    Args:
        stack: after training.
        jobs: of the stack.
        chosen: numbers of the jobs to test.
    """
    model, found = stack.model.eval(), dict[int, torch.Tensor]()
    for r in chosen:
        with stack.only([r]):
            found[r] = jobs[r].prepared.row_losses(model, jobs[r].options.eval_batch_size)
    return found


def _by_answers(task: OneAnswer) -> bool:
    """Return whether the class of the task leaves `evaluate` as it is."""
    return type(task).evaluate is OneAnswer.evaluate


@torch.no_grad()
def _answers(stack: Stack, jobs: Sequence[Job]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Return logits (n, C) and labels (n,) of each job that takes part, on as many rows each."""
    rows = [by_length(job.prepared.rows["test"]) for job in jobs]
    # What fits with gradients fits without.
    size = min(min(job.options.batch_size, job.options.eval_batch_size) for job in jobs)
    logits, labels = [], []
    for start in range(0, len(rows[0]), size):
        numbers = [*range(start, min(start + size, len(rows[0])))]
        together = [row for own in rows for row in own.__getitems__(numbers)]
        batch = dict(jobs[0].prepared.collate(together))
        given = {name: tensor.to(stack.vector.device) for name, tensor in batch.items()}
        logits.append(_by_job(stack.model(**given).logits.float(), len(jobs)))
        labels.append(_by_job(given["labels"], len(jobs)))
    return zip(np.concatenate(logits, axis=1), np.concatenate(labels, axis=1), strict=True)


def _by_job(rows: torch.Tensor, count: int) -> np.ndarray:
    return rows.unflatten(0, (count, -1)).cpu().numpy()  # (R n, ...) -> (R, n, ...)
