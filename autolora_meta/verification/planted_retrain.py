"""Retraining on a planted problem: many rank patterns at once."""

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap

from autolora_meta.foundation.randomness import derive, seeded
from autolora_meta.ranks.pattern import RankPattern
from autolora_meta.verification.planted import Planted

STEPS, LEARNING_RATE, BATCH = 300, 3e-3, 32


def test_losses(problem: Planted, patterns: Sequence[RankPattern], seed: int = 0) -> list[float]:
    """Return the test loss after retraining LoRA at each pattern on training and validation rows.

    Targets of test rows have no noise, so the best loss is 0. All patterns see the same batches and
    start from the same factors, of which each takes the first r_l components: AdamW at 3e-3,
    falling to 0 over 300 steps of 32 rows.

    Args:
        problem: the network and its rows.
        patterns: ranks to retrain. (P,)
        seed: of batches and factors.

    Returns:
        Mean squared error for each pattern. (P,)
    """
    distinct = list(dict.fromkeys(patterns))
    k = max(problem.truth.k, *(max(pattern.ranks) for pattern in distinct))
    parameters = dict(problem.model.named_parameters())
    base = {f"{name}.weight": parameters[f"{name}.weight"] for name in problem.truth.names}
    x = torch.cat([problem.train.x, problem.validation.x])
    y = torch.cat([problem.train.y, problem.validation.y])
    with seeded(derive(seed, "planted retraining")):
        factors = _factors(base.values(), k, len(distinct))
        masks = _masks(distinct, k)  # (L, P, k)

        def predict(updates: Sequence[Tensor], rows: Tensor) -> Tensor:
            weights = {name: w + d for (name, w), d in zip(base.items(), updates, strict=True)}
            return functional_call(problem.model, weights, (rows,))

        def updates() -> list[Tensor]:
            # c B diag(mask) A: (P, out, in) for each layer
            return [
                problem.truth.scale * (b * mask[:, None, :]) @ a
                for (a, b), mask in zip(factors, masks, strict=True)
            ]

        def losses(rows: Tensor, targets: Tensor) -> Tensor:
            outputs = vmap(predict, in_dims=(0, None))(updates(), rows)  # (P, ...)
            return (outputs - targets).square().flatten(1).mean(1)

        optimizer = torch.optim.AdamW(
            [f for pair in factors for f in pair], lr=LEARNING_RATE, weight_decay=0.0, foreach=True
        )
        schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.0, STEPS)
        for _ in range(STEPS):
            rows = torch.randint(0, len(x), (BATCH,))
            optimizer.zero_grad()
            losses(x[rows], y[rows]).sum().backward()
            optimizer.step()
            schedule.step()
        with torch.no_grad():
            found = dict(zip(distinct, losses(*problem.test).tolist(), strict=True))
    return [found[pattern] for pattern in patterns]


def _factors(weights: Iterable[Tensor], k: int, copies: int) -> list[tuple[Tensor, Tensor]]:
    """Return (A, B) of each layer for every pattern, A as PEFT draws it and B zero."""
    factors = []
    for weight in weights:
        out, inputs = weight.shape
        a = nn.init.kaiming_uniform_(torch.empty(k, inputs), a=5**0.5)
        a = a.expand(copies, k, inputs).clone().requires_grad_()
        factors.append((a, torch.zeros(copies, out, k, requires_grad=True)))
    return factors


def _masks(patterns: Sequence[RankPattern], k: int) -> Tensor:
    """Return 1 for the first r_l components of each layer, else 0. (L, P, k)"""
    ranks = torch.tensor([pattern.ranks for pattern in patterns]).T  # (L, P)
    return (torch.arange(k) < ranks[..., None]).float()
