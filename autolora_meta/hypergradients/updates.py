"""The step of an inner optimizer as a differentiable function.

Settings of torch's SGD (with momentum), Adam and AdamW are read from the optimizer's own groups and
state, so that changes by a scheduler and differences between groups count.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from autolora_meta.errors import InputError
from autolora_meta.hypergradients.solvers import InnerUpdate
from autolora_meta.hypergradients.vectors import Vector

State = dict[str, Tensor]


def _root(x: Tensor) -> Tensor:
    """Return sqrt(x) with slope 0 at 0, where sqrt has none.

    A second moment is 0 only if the gradient is, and then the numerator of the update carries the
    whole slope.
    """
    safe = torch.where(x > 0, x, torch.ones_like(x))
    return torch.where(x > 0, safe.sqrt(), torch.zeros_like(x))


def sgd(w: Tensor, g: Tensor, state: State, group: dict[str, Any]) -> tuple[Tensor, State]:
    """Take one step of torch.optim.SGD: (w', state') from weights, gradient and momentum buffer."""
    g = g + group["weight_decay"] * w
    mu = group["momentum"]
    if mu == 0:
        return w - group["lr"] * g, {}
    # b' = mu b + (1 - dampening) g, and b' = g at the first step
    buffer = state.get("momentum_buffer")
    buffer = g if buffer is None else mu * buffer + (1 - group["dampening"]) * g
    direction = g + mu * buffer if group["nesterov"] else buffer
    return w - group["lr"] * direction, {"momentum_buffer": buffer}


def adam(w: Tensor, g: Tensor, state: State, group: dict[str, Any]) -> tuple[Tensor, State]:
    """Take one step of torch.optim.Adam or AdamW; `group["step"]` counts this step, from 1."""
    lr, (beta1, beta2), decay = group["lr"], group["betas"], group["weight_decay"]
    if group["decoupled_weight_decay"]:
        w = w * (1 - lr * decay)
    else:
        g = g + decay * w
    m = beta1 * state["exp_avg"] + (1 - beta1) * g
    s = beta2 * state["exp_avg_sq"] + (1 - beta2) * g * g
    # w' = w - lr (m / (1 - beta1^t)) / (sqrt(s / (1 - beta2^t)) + eps)
    t = group["step"]
    scale = _root(s) / (1 - beta2**t) ** 0.5 + group["eps"]
    return w - lr / (1 - beta1**t) * m / scale, {"exp_avg": m, "exp_avg_sq": s}


def adam_step(
    exp_avg: Tensor,
    exp_avg_sq: Tensor,
    step: int,
    lr: float,
    betas: tuple[float, float],
    eps: float,
) -> Tensor:
    """u = lr m_hat / (sqrt(s_hat) + eps), from the moments as they stand after the step."""
    root = _root(exp_avg_sq / (1 - betas[1] ** step))
    return lr * exp_avg / (1 - betas[0] ** step) / (root + eps)


def adam_jacobian(
    gradient: Tensor,
    exp_avg: Tensor,
    exp_avg_sq: Tensor,
    step: int,
    lr: float,
    betas: tuple[float, float],
    eps: float,
) -> Tensor:
    """du/dg, elementwise, of the Adam update u = lr m_hat / (sqrt(s_hat) + eps) with w' = w - u.

    Args:
        gradient: g, the gradient of this step. Any shape.
        exp_avg: first moment with this gradient in it, as in the optimizer's state after the step.
            Shape of `gradient`.
        exp_avg_sq: second moment, likewise.
        step: number of this step, from 1.
        lr: learning rate.
        betas: decay rates of the moments.
        eps: the constant beside the root.

    Returns:
        The Jacobian's diagonal, in the shape of `gradient`; if gradient and moments are zero, it is
        lr * (1 - beta1) / ((1 - beta1^t) eps).

    Source:
        SAMA (arXiv 2310.05674), with the bias corrections kept.
    """
    beta1, beta2 = betas
    m_hat = exp_avg / (1 - beta1**step)
    root = _root(exp_avg_sq / (1 - beta2**step))
    denominator = root + eps
    dm = (1 - beta1) / (1 - beta1**step)
    # d root / dg = (1 - beta2) g / ((1 - beta2^t) root)
    droot = (1 - beta2) / (1 - beta2**step) * gradient / torch.where(root > 0, root, 1.0)
    # du/dg = lr (dm / (root + eps) - m_hat droot / (root + eps)^2)
    return lr * (dm / denominator - m_hat / denominator * (droot / denominator))


@dataclass(frozen=True)
class Rule:
    """The step of one tensor: the optimizer's formula, its settings, its state before the step."""

    update: Callable[[Tensor, Tensor, State, dict[str, Any]], tuple[Tensor, State]]
    group: dict[str, Any]
    state: State

    def __call__(self, w: Tensor, g: Tensor, state: State) -> tuple[Tensor, State]:
        """Return (w', state') from w, the gradient g and a state in place of the recorded one."""
        return self.update(w, -g if self.group["maximize"] else g, state, self.group)


def _group_of(optimizer: torch.optim.Optimizer, param: Tensor) -> dict[str, Any]:
    for group in optimizer.param_groups:
        if any(p is param for p in group["params"]):
            return group
    raise InputError(
        f"a parameter of shape {tuple(param.shape)} is not in the inner optimizer; give the "
        "optimizer every parameter of the inner problem"
    )


def _is_adam(optimizer: torch.optim.Optimizer, group: dict[str, Any]) -> bool:
    adaptive = isinstance(optimizer, torch.optim.Adam)
    if (adaptive and not group["amsgrad"]) or isinstance(optimizer, torch.optim.SGD):
        return adaptive
    name = type(optimizer).__name__ + (" with amsgrad" if adaptive else "")
    raise InputError(
        f"cannot differentiate a step of {name}; allowed: SGD (with momentum), Adam, AdamW. Choose "
        "one of them, or a hypergradient method that does not differentiate the step, like darts"
    )


def rules_of(optimizer: torch.optim.Optimizer, params: Vector) -> list[Rule]:
    """Return the rule of each tensor for the next step; state is copied, so it may be kept.

    Raises:
        InputError: the optimizer is none of SGD, Adam, AdamW, or lacks a tensor of `params`.
    """
    rules = []
    for param in params:
        group = _group_of(optimizer, param)
        kept = optimizer.state.get(param, {})
        settings = {name: value for name, value in group.items() if name != "params"}
        settings["lr"] = float(group["lr"])
        if _is_adam(optimizer, group):
            settings["step"] = int(kept.get("step", 0)) + 1
            names, update = ("exp_avg", "exp_avg_sq"), adam
            empty = {name: torch.zeros_like(param, requires_grad=False) for name in names}
        else:
            names, update, empty = ("momentum_buffer",), sgd, {}
        held = {name: kept[name].detach().clone() for name in names if kept.get(name) is not None}
        rules.append(Rule(update, settings, {**empty, **held}))
    return rules


def inner_update(
    optimizer: torch.optim.Optimizer, params: Vector, gradients: Vector | None = None
) -> InnerUpdate:
    """Return what one-step methods need of the step that `optimizer` has just taken.

    Args:
        optimizer: the inner optimizer, after its step.
        params: w, as the optimizer holds them.
        gradients: g_w of that step; needed by the `adam` solver, which asks for SGD or Adam.

    Returns:
        The learning rate of each tensor, and, with `gradients`, the Jacobian of the update.

    Raises:
        InputError: a tensor is not in the optimizer, or its step cannot be differentiated.
    """
    groups = [_group_of(optimizer, param) for param in params]
    rates = tuple(float(group["lr"]) for group in groups)
    if gradients is None:
        return InnerUpdate(rates)
    jacobian = []
    for param, group, g in zip(params, groups, gradients, strict=True):
        if not _is_adam(optimizer, group):
            raise InputError(
                "the adam solver needs an inner optimizer of torch's Adam family; given "
                f"{type(optimizer).__name__}. Use adamw as inner optimizer, or the method darts"
            )
        kept = optimizer.state[param]
        moments = kept["exp_avg"], kept["exp_avg_sq"]
        settings = int(kept["step"]), float(group["lr"]), group["betas"], group["eps"]
        sign = -1.0 if group["maximize"] else 1.0
        g = sign * g
        if not group["decoupled_weight_decay"]:
            # The decay was taken at the weights before the step: w = w' + u
            g = g + group["weight_decay"] * (param.detach() + adam_step(*moments, *settings))
        jacobian.append(sign * adam_jacobian(g, *moments, *settings))
    return InnerUpdate(rates, jacobian)
