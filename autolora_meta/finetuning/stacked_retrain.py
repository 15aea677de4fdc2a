"""Retrain many adapters in one pass over the base that they share: arms, replicates, budgets."""

import logging
import math
from collections.abc import Iterable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import partial
from itertools import cycle, islice

import torch
from torch import Tensor
from transformers import Trainer

from autolora_meta.errors import NotFinite
from autolora_meta.finetuning.buffers import refuse_moving_buffers, standing_still
from autolora_meta.finetuning.lora import unwrapped_afterwards
from autolora_meta.finetuning.retrain import started
from autolora_meta.finetuning.stacked import Stack, stacked
from autolora_meta.finetuning.stacked_adamw import StackedAdamW
from autolora_meta.finetuning.stacked_batches import Order, batches, parts, workers_beside
from autolora_meta.finetuning.stacked_evaluation import losses_of_rows, metrics_of_each
from autolora_meta.finetuning.stacked_jobs import Job, refuse_unlike
from autolora_meta.finetuning.stacked_rows import refuse_mixed_rows
from autolora_meta.finetuning.stacked_saving import Saving
from autolora_meta.finetuning.trainer import lost
from autolora_meta.foundation.checkpoints import Checkpoints
from autolora_meta.foundation.device import begin, resolved_precision
from autolora_meta.foundation.halving import in_one_or_halves
from autolora_meta.foundation.interrupts import Stop, waiting
from autolora_meta.foundation.progress import Progress, Say, Silent
from autolora_meta.foundation.randomness import derive, seeded

_LOG = logging.getLogger("autolora_meta")
_READ_EVERY = 10  # steps; each reading of a loss waits for the device


@dataclass(frozen=True)
class Trained:
    """What came of a job.

    Args:
        state: adapter and head by the names that PEFT loads, on the CPU.
        metrics: the task's metrics on the test rows; none where losses are wanted.
        log: {"step", "loss", "learning_rate"} of each step.
        parameters: trained parameters of the adapter, head excluded.
        stack: how many adapters were trained in its pass.
        losses: of the test rows, where they are wanted (`Job.by_row`). (n,) float64
    """

    state: dict[str, Tensor]
    metrics: dict[str, float]
    log: list[dict[str, float]]
    parameters: int
    stack: int
    losses: Tensor | None = None


def retrain_stacked(
    jobs: Sequence[Job],
    *,
    dropout: float = 0.0,
    device: torch.device | str = "cpu",
    progress: Progress | None = None,
    checkpoints: Checkpoints | None = None,
    say: Say = _LOG.info,
) -> list[Trained | Exception]:
    """Do what `retrain` does for each of the jobs, all in one pass.

    Each job has the factors, head, order of rows, schedule, decay and clipping that its own
    retraining has: without dropout it ends at the same weights, to rounding. Dropout masks are
    drawn for all jobs together. Jobs for which memory does not suffice are trained in two halves,
    one after the other, and a warning says so.

    Args:
        jobs: they share base, task, layers and scale.
        dropout: on the input of the adapters.
        device: cpu, or an accelerator.
        progress: told after each step, whose work is the number of jobs that took it.
        checkpoints: where all are saved, also at Ctrl-C and SIGTERM, and go on from.
        say: told from where they go on.

    Returns:
        What came of each job, or why nothing did: its loss is no longer a number (`NotFinite`), or
        memory did not suffice for it alone.

    Raises:
        InputError: the jobs cannot be trained in one pass, or the checkpoints are of others.
    """
    refuse_unlike(jobs)
    begin(device)
    follow = progress or Silent()
    follow.start("retrain", sum(job.options.steps for job in jobs))
    try:
        given = _Given(dropout, torch.device(device), follow, say)
        work = partial(_in_one_pass, given=given)
        return in_one_or_halves(jobs, work, checkpoints, device, "adapters")
    finally:
        follow.close()


@dataclass(frozen=True)
class _Given:
    """What all jobs are trained with."""

    dropout: float
    device: torch.device
    progress: Progress
    say: Say


def _in_one_pass(
    jobs: Sequence[Job], checkpoints: Checkpoints | None, given: _Given
) -> list[Trained | NotFinite]:
    first, dropout = jobs[0].prepared, given.dropout
    states = [job.state(dropout) for job in jobs]
    ranks = zip(*(job.pattern.ranks for job in jobs), strict=True)
    k = max(job.pattern.k for job in jobs)
    widest = replace(jobs[0].pattern, ranks=tuple(map(max, ranks)), k=k)
    seed = derive(jobs[0].seed, "stack", *(job.seed for job in jobs))
    with unwrapped_afterwards(first.model), seeded(seed):
        model = started(first.model, first, widest, dropout, seed, None).to(given.device).train()
        with standing_still(model), stacked(model, states) as stack:
            saving = checkpoints and Saving(checkpoints, stack, jobs, dropout)
            losses = _train(stack, jobs, given, saving)
            return _results(stack, jobs, losses)


def _train(
    stack: Stack, jobs: Sequence[Job], given: _Given, saving: Saving | None
) -> list[list[float]]:
    """Train all jobs and return the loss of each step of each."""
    orders = [job.order() for job in jobs]
    steps = max(map(len, orders))
    rates = stack.vector.new_tensor(
        [
            job.rates() + [0.0] * (steps - len(order))
            for job, order in zip(jobs, orders, strict=True)
        ]
    )  # (R, T)
    losses = torch.zeros_like(rates)
    adamw, device = _adamw(stack, jobs), stack.vector.device
    _refuse(stack, jobs, orders)
    began = saving.restore(adamw, losses, given.say) if saving else 0
    if began:
        given.progress.step(None, sum(min(began, len(order)) for order in orders))
    ahead = batches(jobs, orders, device, workers=workers_beside(device), first=began)
    with waiting() if saving else nullcontext(Stop()) as stop:
        for step in range(began, steps):
            trained = _step(stack, jobs, parts(orders, step), ahead, losses[:, step])
            adamw.step(trained, rates[:, step])
            read = (step + 1) % _READ_EVERY == 0
            took = [r for r, order in enumerate(orders) if step < len(order)]
            given.progress.step(float(losses[took, step].mean()) if read else None, len(took))
            if saving:
                saving.between(step + 1, adamw, losses, stop)
    return [row[: len(order)] for row, order in zip(losses.tolist(), orders, strict=True)]


def _step(
    stack: Stack,
    jobs: Sequence[Job],
    each: Iterable[list[int]],
    ahead: Iterator[dict[str, Tensor]],
    losses: Tensor,
) -> Tensor:
    """Return the gradient of each job on its next batch, and put its loss into `losses`. (R, P)"""
    gradients, device = torch.zeros_like(stack.vector), stack.vector.device
    bf16 = resolved_precision(jobs[0].options.precision, device) == "bf16"
    for chosen in each:
        with stack.only(chosen):
            with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
                given = stack.losses(jobs[0].prepared.task.loss, next(ahead))
            gradients += stack.gradient(given)
        losses[chosen] = given.detach().to(losses.dtype)
    return gradients


def _adamw(stack: Stack, jobs: Sequence[Job]) -> StackedAdamW:
    """Return the optimizer of a Trainer, with the decay and the clipping of each job."""
    new = stack.vector.new_tensor
    decayed = Trainer.get_decay_parameter_names(None, stack.model)  # pyright: ignore[reportArgumentType]
    sizes = [parameter[0].numel() for parameter in stack.parameters]
    each = [new(name in decayed).expand(n) for name, n in zip(stack.names, sizes, strict=True)]
    given = jobs[0].arguments
    return StackedAdamW(
        stack.vector,
        decay=new([job.options.weight_decay for job in jobs]),
        decayed=torch.cat(each),
        max_norm=new([job.options.max_grad_norm for job in jobs]),
        betas=(given.adam_beta1, given.adam_beta2),
        eps=given.adam_epsilon,
    )


def _refuse(stack: Stack, jobs: Sequence[Job], orders: Sequence[Order]) -> None:
    """Refuse a model that trains adapters otherwise in one pass than one at a time."""
    loss, chosen = jobs[0].prepared.task.loss, next(parts(orders, 0))
    size = len(orders[chosen[0]][0])
    # The rows of the first step and others of as many: of the last.
    halves = [[list(islice(cycle(order[at]), size)) for at in (0, -1)] for order in orders]
    rows = [jobs[r].rows.__getitems__(halves[r][half]) for half in (0, 1) for r in chosen]
    both = jobs[0].prepared.collate([row for own in rows for row in own])
    first, last = (
        {name: part.to(stack.vector.device).chunk(2)[half] for name, part in both.items()}
        for half in (0, 1)
    )
    with stack.only(chosen):
        refuse_moving_buffers(stack.model, lambda: stack.losses(loss, first))
        if len(chosen) > 1:
            refuse_mixed_rows(stack, loss, first, last)


def _results(
    stack: Stack, jobs: Sequence[Job], losses: Sequence[list[float]]
) -> list[Trained | NotFinite]:
    """Return what came of each job; those whose loss is no number are not tested."""
    wrong = [next((i for i, x in enumerate(own) if not math.isfinite(x)), None) for own in losses]
    kept = [r for r, step in enumerate(wrong) if step is None]
    by_row = losses_of_rows(stack, jobs, [r for r in kept if jobs[r].by_row])
    metrics = metrics_of_each(stack, jobs, [r for r in kept if not jobs[r].by_row])
    return [
        _trained(stack, r, job, losses[r], metrics.get(r, {}), by_row.get(r))
        if (step := wrong[r]) is None
        else lost(losses[r][step], step + 1)
        for r, job in enumerate(jobs)
    ]


def _trained(
    stack: Stack,
    r: int,
    job: Job,
    losses: list[float],
    metrics: dict[str, float],
    by_row: Tensor | None,
) -> Trained:
    log = [
        {"step": step, "loss": loss, "learning_rate": rate}
        for step, (loss, rate) in enumerate(zip(losses, job.rates(), strict=True), 1)
    ]
    state = {key: value.cpu() for key, value in stack.state(r).items()}
    parameters = sum(value.numel() for key, value in state.items() if "lora_" in key)
    return Trained(state, metrics, log, parameters, len(stack), by_row)
