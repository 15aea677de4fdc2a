"""Reverse mode through K inner steps of the actual optimizer.

Each step is recorded before it is taken. The way back rebuilds one step at a time, so memory holds
one graph, and K copies of weights and optimizer state.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from pydantic import Field
from torch import Tensor

from autolora_meta.foundation.cost import Cost
from autolora_meta.foundation.options import Options
from autolora_meta.hypergradients.products import AutogradProducts, Replay
from autolora_meta.hypergradients.updates import Rule, State, rules_of
from autolora_meta.hypergradients.vectors import Vector, add_scaled, assign, scale, zeros_like


class UnrolledOptions(Options):
    """Options of `unrolled`."""

    steps: int = Field(
        default=1,
        ge=1,
        description="Number of inner steps before an outer step to differentiate through; each "
        "keeps a copy of weights and optimizer state.",
    )


@dataclass(frozen=True)
class RecordedStep:
    """One inner step, recorded before it was taken.

    Args:
        loss: g of this step, the same function at each call (batch and dropout masks).
        params: w before the step, copied.
        rules: how each tensor steps, with the optimizer's state before the step.
    """

    loss: Replay
    params: Vector
    rules: Sequence[Rule]


def record_step(optimizer: torch.optim.Optimizer, params: Vector, loss: Replay) -> RecordedStep:
    """Record the step that `optimizer` is about to take. Call it before `optimizer.step()`.

    Raises:
        InputError: the optimizer is none of SGD, Adam, AdamW, or lacks a tensor of `params`.
    """
    kept = [w.detach().clone() for w in params]
    return RecordedStep(loss, kept, rules_of(optimizer, params))


def unrolled_gradient(
    steps: Sequence[RecordedStep], params: Vector, hyper: Vector, v: Vector
) -> tuple[list[Tensor], Cost]:
    """Return the implicit term of df/da through the recorded steps, to be subtracted from f_a.

    With step t: w_{t+1}, s_{t+1} = Phi_t(w_t, g_w(w_t, a), s_t), and adjoints l (of w) and m (of
    the optimizer's state s), going back from l_K = v, m_K = 0:

        x_t = (dPhi/dg)^T (l, m),  df/da gains J_t x_t,  l_t = (dPhi/dw)^T (l, m) + H_t x_t

    Args:
        steps: consecutive steps, first to last.
        params: w as the loss closures read them; moved in place, and put back bit for bit.
        hyper: a, the same for all steps.
        v: f_w after the last step. Shapes of `params`.

    Returns:
        -sum_t J_t x_t in the shapes of `hyper`, and what it cost: a forward, a backward and a
        double backward a step.

    Source:
        Reverse-mode hypergradient, Franceschi et al. (arXiv 1703.01785), algorithm 1.
    """
    saved = [w.detach().clone() for w in params]
    adjoint, total, cost = list(v), zeros_like(hyper), Cost()
    state_adjoints: list[State] = [{} for _ in params]
    try:
        for step in reversed(steps):
            assign(params, step.params)
            products = AutogradProducts(step.loss, params, hyper)
            gradients = products.gradient()
            pulled = [
                _pull(rule, step.params[i], gradients[i], adjoint[i], state_adjoints[i])
                for i, rule in enumerate(step.rules)
            ]
            x = [into_gradient for _, into_gradient, _ in pulled]
            curved, gained = products.both(x)
            total = add_scaled(total, 1.0, gained)
            adjoint = add_scaled([into_weight for into_weight, _, _ in pulled], 1.0, curved)
            state_adjoints = [into_state for _, _, into_state in pulled]
            cost += products.cost
    finally:
        assign(params, saved)
    return scale(-1.0, total), cost


def _pull(
    rule: Rule, w: Tensor, g: Tensor, adjoint: Tensor, state_adjoint: State
) -> tuple[Tensor, Tensor, State]:
    """Pull the adjoints of (w', s') back through one tensor's update, to w, g and s."""
    with torch.enable_grad():
        leaves = [part.detach().requires_grad_() for part in (w, g, *rule.state.values())]
        following, state = rule(
            leaves[0], leaves[1], dict(zip(rule.state, leaves[2:], strict=True))
        )
        names = [name for name in state if name in state_adjoint]
        gradients = torch.autograd.grad(
            [following, *(state[name] for name in names)],
            leaves,
            grad_outputs=[adjoint, *(state_adjoint[name] for name in names)],
            materialize_grads=True,
            allow_unused=True,
        )
    return gradients[0], gradients[1], dict(zip(rule.state, gradients[2:], strict=True))
