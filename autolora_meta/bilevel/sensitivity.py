"""Sensitivity: how the validation loss rises when a singular direction of an update goes."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from autolora_meta.bilevel.feed import Loss
from autolora_meta.bilevel.gating import Gates, lora_factors
from autolora_meta.foundation.cost import Cost, plain_steps
from autolora_meta.foundation.modes import evaluating
from autolora_meta.foundation.processes import summed
from autolora_meta.foundation.progress import Progress
from autolora_meta.foundation.randomness import RandomState, replay
from autolora_meta.hypergradients.vectors import assign
from autolora_meta.ranks.directions import Factors, singular_directions


def sensitivity(
    model: nn.Module, gates: Gates, loss: Loss, batches: Sequence[Any], progress: Progress
) -> tuple[Tensor, Cost]:
    """Remove each singular direction of each layer, one at a time, and take the loss again.

    score_lj = f(Delta W_l - s_j p_j q_j^T) - f(Delta W_l),  Delta W_l = sum_j s_j p_j q_j^T

    in evaluation mode and float32, f being the mean loss over the batches. A direction that does
    harm has a negative score.

    Args:
        model: a PeftModel whose components `gates` weighs; it comes back as it was.
        gates: the weights.
        loss: (model, batch) -> scalar.
        batches: validation batches, on the model's device.
        progress: told once per direction.

    Returns:
        The scores, (L, k), directions in descending order of their singular values; and what they
        took: (L k + 1) forwards per batch.
    """
    factors = lora_factors(model, gates.names)
    state = RandomState.snapshot()

    def value() -> float:
        with replay(state):  # a loss that draws random numbers draws the same ones each time
            return sum(float(loss(model, batch)) for batch in batches) / len(batches)

    scores = torch.zeros(len(factors), gates.k)
    a_pass = Cost(forwards=len(batches))
    progress.start("sensitivity", plain_steps(a_pass) * scores.numel())
    try:
        with torch.no_grad(), evaluating(model), in_singular_form(gates, factors):
            whole = value()
            for layer, (a, _) in enumerate(factors):
                for j in range(gates.k):
                    kept = a[j].clone()
                    a[j].zero_()
                    scores[layer, j] = value() - whole
                    a[j].copy_(kept)
                    progress.step(work=plain_steps(a_pass))
    finally:
        progress.close()
    return summed([scores])[0], Cost(forwards=len(batches) * (scores.numel() + 1))


@contextmanager
def in_singular_form(gates: Gates, factors: Sequence[Factors]) -> Iterator[None]:
    """Inside, row j of A and column j of B are the j-th singular direction, and gates are equal."""
    tensors = [gates.logits, *(t for pair in factors for t in pair)]
    kept = [t.detach().clone() for t in tensors]
    weights = gates().to("cpu", torch.float64)
    try:
        gates.logits.zero_()  # every gate is at its start
        for gate, (a, b) in zip(weights, factors, strict=True):
            a_l, b_l = (t.to("cpu", torch.float64).flatten(1) for t in (a, b))
            p, s, q = singular_directions(gate, a_l, b_l)
            # B diag(g) A = P (start I) (diag(s) Q^T / start)
            a.copy_((s[:, None] * q.mT / gates.start).view(a.shape))
            b.copy_(p.view(b.shape))
        yield
    finally:
        assign(tensors, kept)
