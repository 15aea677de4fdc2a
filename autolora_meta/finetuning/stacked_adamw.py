"""AdamW for R vectors at once, each with a rate, a decay and a largest gradient of its own."""

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor


class StackedAdamW:
    """AdamW for the rows of a matrix, as torch's is for each of them.

    Gradients are scaled down to norm `max_norm` as `clip_grad_norm_` does it. Then, at step t,

        w = w - rate decay w
        m = b1 m + (1 - b1) g,    v = b2 v + (1 - b2) g^2
        w = w - rate m / (1 - b1^t) / (sqrt(v / (1 - b2^t)) + eps).

    Args:
        vectors: what is trained, changed in place. (R, P)
        decay: weight decay of each vector. (R,)
        decayed: 1 for the numbers that decay, 0 for biases. (P,)
        max_norm: largest norm of each gradient. (R,)
        betas: b1 and b2.
        eps: epsilon.

    Source: Loshchilov and Hutter, Decoupled weight decay regularization (arXiv 1711.05101).
    """

    def __init__(
        self,
        vectors: Tensor,
        *,
        decay: Tensor,
        decayed: Tensor,
        max_norm: Tensor,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
    ) -> None:
        self._w, self._decay, self._decayed = vectors, decay[:, None], decayed
        self._max_norm = max_norm[:, None]
        self._m, self._v = torch.zeros_like(vectors), torch.zeros_like(vectors)
        self._betas, self._eps, self._t = betas, eps, 0

    @torch.no_grad()
    def step(self, gradients: Tensor, rates: Tensor) -> None:
        """Take a step. A vector of rate 0 stays as it is.

        Args:
            gradients: (R, P)
            rates: learning rate of each vector. (R,)
        """
        b1, b2 = self._betas
        self._t += 1
        rate = rates[:, None]
        norm = gradients.norm(dim=1, keepdim=True)  # (R, 1)
        g = gradients * (self._max_norm / (norm + 1e-6)).clamp_max(1)
        self._w *= 1 - rate * self._decay * self._decayed
        self._m.lerp_(g, 1 - b1)
        self._v.mul_(b2).addcmul_(g, g, value=1 - b2)
        below = self._v.sqrt().div_(math.sqrt(1 - b2**self._t)).add_(self._eps)
        self._w.sub_(self._m.div(below).mul_(rate / (1 - b1**self._t)))

    def state_dict(self) -> dict[str, Any]:
        """Return the moments, (R, P), and the number of steps."""
        return {"m": self._m, "v": self._v, "t": self._t}

    @torch.no_grad()
    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Put back what `state_dict` returned."""
        self._m.copy_(state["m"])
        self._v.copy_(state["v"])
        self._t = state["t"]
