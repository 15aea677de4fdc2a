"""SoRA and L1RA: gates that an L1 penalty drives to zero, by proximal steps."""

import torch
from torch import Tensor

from autolora_meta.allocators.replicate import Replicate
from autolora_meta.allocators.scored import scored
from autolora_meta.allocators.training import Training, learned_work, peer_steps, plain_lora

# What the penalty takes from a gate over the training, in units of its start: a gate that the loss
# does not hold is gone half-way.
SHRINKAGE = 2.0


def soft_threshold(gates: Tensor, by: float) -> Tensor:
    """prox(g) = sign(g) max(|g| - eta lambda, 0).

    >>> soft_threshold(torch.tensor([1.0, -0.2, -1.0]), 0.25)
    tensor([ 0.7500, -0.0000, -0.7500])
    """
    return gates.sign() * (gates.abs() - by).clamp_min(0)


def survival(replicate: Replicate) -> Tensor:
    """Return the size of each gate after training; below 0 for a gate at zero, by its time. (L, k)

    Gates and factors train together on training rows: factors and head by `search.inner`, gates by
    `search.outer` without its decay, after the warm-up. A proximal step follows each step.

    Departures from the papers: the strength of the penalty is fixed (`SHRINKAGE`), and the budget
    cuts what it leaves, or fills it up with the gates that went last, so that lambda needs no
    repeated trainings; all gates start at 1; ranks do not move between layers in training (L1RA).
    """
    config = replicate.config
    steps = peer_steps(config)
    warmup = config.search.warmup_steps
    by = SHRINKAGE / (steps - warmup)  # eta lambda
    with plain_lora(replicate) as (program, model, gates):
        training = Training(replicate, program, model, steps, "l1")
        gates.requires_grad_()
        outer = config.search.outer.model_copy(update={"weight_decay": 0.0})
        optimizer = outer.build(gates.parameters())
        alive = torch.zeros_like(gates.logits, dtype=torch.long)  # the last step with g != 0
        for step in range(steps):
            optimizer.zero_grad()
            training.step()
            if step >= warmup:
                optimizer.step()
                with torch.no_grad():
                    gates.logits.copy_(soft_threshold(gates(), by) - 1)  # g = 1 + logit
            alive[gates() != 0] = step
        training.close()
        size = gates().detach().abs()
        gone = (alive - steps) / steps
        return torch.where(size > 0, size, gone).double().cpu()


ALLOCATOR = scored(
    survival,
    summary="gates on training rows with an L1 penalty, by proximal steps",
    source="SoRA, arXiv 2311.11696; L1RA",
    work=learned_work,
)
