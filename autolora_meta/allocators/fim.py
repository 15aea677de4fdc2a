"""FIM: ranks by the Fisher information of B at the start, the mean square of its gradient."""

import torch
from torch import Tensor

from autolora_meta.allocators.replicate import Replicate
from autolora_meta.allocators.scored import proportional, scored
from autolora_meta.allocators.training import plain_lora
from autolora_meta.bilevel.feed import to_device
from autolora_meta.bilevel.gating import lora_factors
from autolora_meta.bilevel.passes import Passes
from autolora_meta.foundation.cost import Cost
from autolora_meta.foundation.parts import each, weighted
from autolora_meta.foundation.progress import Silent
from autolora_meta.hypergradients.vectors import gradients

BATCHES = 8  # backward passes, each of one batch


def information(replicate: Replicate) -> Tensor:
    """Return F_l = mean over batches and entries of (dg/dB_l)^2 before the first step. (L,)

    LoRA of rank k is at its start: B is 0, A is as PEFT draws it, the head as it was drawn.
    """
    progress = replicate.progress or Silent()
    with plain_lora(replicate) as (program, model, gates):
        columns = [b for _, b in lora_factors(model, gates.names)]
        total = torch.zeros(len(columns), dtype=torch.float64)
        progress.start("fim", BATCHES)
        for _ in range(BATCHES):
            batch = to_device(program.train.next(), program.device)
            passes = Passes(weighted(w, program.loss(model, part)) for w, part in each(batch))
            found = gradients(passes, columns)
            # F_l = (1/T) sum_t mean (dg_t/dB_l)^2
            squares = [g.float().square().mean().cpu().double() for g in found]
            total += torch.stack(squares) / BATCHES
            replicate.cost += Cost(forwards=1, backwards=1)
            progress.step(float(passes.value))
        progress.close()
    return total


def scores(replicate: Replicate) -> Tensor:
    """Return scores by which ranks are in proportion to the information of B. (L, k)

    Departures from the paper: a gradient is that of a batch, not of a row; the budget counts
    parameters; limits of ranks are the run's.
    """
    return proportional(information(replicate), replicate.config.lora.k)


ALLOCATOR = scored(
    scores,
    summary="mean square of the gradient of B over a few batches, before training",
    source="FIM, arXiv 2605.16800",
    work=lambda config: float(BATCHES),
)
