"""AdamW as formulas of tensors, so that autograd can differentiate through its steps."""

from dataclasses import dataclass

import torch
from torch import Tensor

from autolora_meta.hypergradients.vectors import Vector

BETAS, EPS, DECAY = (0.9, 0.999), 1e-8, 0.01
# Added under the root, whose slope at 0 is infinite; 1e-15 beside eps = 1e-8.
FLOOR = 1e-30


@dataclass(frozen=True)
class AdamMoments:
    """AdamW's state: first and second moments, and the number of steps."""

    first: list[Tensor]
    second: list[Tensor]
    count: int

    @classmethod
    def after(cls, gradient: Vector) -> "AdamMoments":
        """Return the state after one step with this gradient."""
        first = [(1 - BETAS[0]) * g.detach() for g in gradient]
        second = [(1 - BETAS[1]) * g.detach() ** 2 for g in gradient]
        return cls(first, second, 1)

    def step(self, w: Vector, g: Vector, eta: float) -> tuple[list[Tensor], "AdamMoments"]:
        """Return (w', state') of one step with decoupled weight decay (arXiv 1711.05101)."""
        t = self.count + 1
        first, second, moved = [], [], []
        for weight, gradient, m, s in zip(w, g, self.first, self.second, strict=True):
            m = BETAS[0] * m + (1 - BETAS[0]) * gradient
            s = BETAS[1] * s + (1 - BETAS[1]) * gradient**2
            m_hat, s_hat = m / (1 - BETAS[0] ** t), s / (1 - BETAS[1] ** t)
            # w' = (1 - eta lambda) w - eta m_hat / (sqrt(s_hat) + eps)
            update = m_hat / ((s_hat + FLOOR).sqrt() + EPS)
            moved.append((1 - eta * DECAY) * weight - eta * update)
            first.append(m)
            second.append(s)
        return moved, AdamMoments(first, second, t)

    def optimizer(self, params: Vector, eta: float) -> torch.optim.Optimizer:
        """Return torch's AdamW over `params` with this state."""
        made = torch.optim.AdamW(params, lr=eta, betas=BETAS, eps=EPS, weight_decay=DECAY)
        for p, m, s in zip(params, self.first, self.second, strict=True):
            step = torch.tensor(float(self.count))
            made.state[p] = {"step": step, "exp_avg": m.clone(), "exp_avg_sq": s.clone()}
        return made
