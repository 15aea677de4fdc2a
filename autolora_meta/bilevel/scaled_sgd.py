"""ScaledSGD: gradient descent whose rate does not depend on the scale of the gradient."""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor


class ScaledSGD(torch.optim.Optimizer):
    """Steps along the gradient over the largest root mean square that it had so far.

        p <- p - lr g / max over s <= t of rms(g_s)

    The mean is over entries that are not 0. A rate of 1 moves a typical entry by 1 while gradients
    are at their largest. Adam would divide each entry by its own mean: entries that are seldom seen
    then move as far for noise as for signal, and late, small gradients as far as early, large ones.

    Args:
        params: parameters, or groups of them.
        lr: the rate.
        weight_decay: added to the gradient, times the parameter.
    """

    def __init__(
        self,
        params: Iterable[Tensor] | Iterable[dict[str, Any]],
        lr: float,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(params, {"lr": lr, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Take one step."""
        loss = None if closure is None else closure()
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is None:
                    continue
                g = p.grad + group["weight_decay"] * p
                rms = g.square().sum().div((g != 0).sum().clamp_min(1)).sqrt()
                state = self.state[p]
                largest = state["largest"] = torch.maximum(state.get("largest", rms), rms)
                p.sub_(group["lr"] * g / largest.clamp_min(torch.finfo(p.dtype).tiny))
        return loss
