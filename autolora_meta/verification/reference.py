"""References: what each method's formula gives, by code that shares nothing with the method."""

import torch
from torch import Tensor

from autolora_meta.hypergradients.choice import HypergradientOptions, parse
from autolora_meta.hypergradients.implicit_gradient import implicit_gradient, make_products
from autolora_meta.hypergradients.unrolled import UnrolledOptions
from autolora_meta.hypergradients.vectors import filled, flatten, scale, unflatten
from autolora_meta.verification.case import Case
from autolora_meta.verification.moments import AdamMoments


def reference(case: Case, options: HypergradientOptions, moments: AdamMoments) -> list[Tensor]:
    """Return the term that the method subtracts from f_a, by its formula; f_a for first_order.

    One-step methods and `unrolled`: -(dw_K/da)^T v, where w_K is K steps of gradient descent or of
    AdamW written as one expression in a. Methods of the inner optimum: J (H + damping I)^-1 v.

    Args:
        case: the problem.
        options: the method.
        moments: AdamW's state before the first step.
    """
    name = options.record.solver
    if name == "zero":
        value = case.outer(case.params)
        return filled(torch.autograd.grad(value, case.hyper, allow_unused=True), case.hyper)
    if options.record.evaluated_at == "after":
        settings = options.solver.model_dump()
        return implicit_reference(case, settings["rho" if name == "nystrom" else "damping"])
    descent = name == "identity"
    count = options.solver.steps if isinstance(options.solver, UnrolledOptions) else 1
    if (descent, count) not in case.known:
        case.known[descent, count] = _through_steps(case, None if descent else moments, count)
    return case.known[descent, count]


def _through_steps(case: Case, moments: AdamMoments | None, count: int) -> list[Tensor]:
    """-(dw_K/da)^T v with v = f_w(w_K), by double backward of a single expression."""
    w = list(case.params)
    for _ in range(count):
        value = case.inner(w)
        g = torch.autograd.grad(
            value, w, create_graph=True, allow_unused=True, materialize_grads=True
        )
        if moments is None:
            # w' = w - eta g
            w = [a - case.learning_rate * b for a, b in zip(w, g, strict=True)]
        else:
            w, moments = moments.step(w, g, case.learning_rate)
    end = [a.detach().requires_grad_() for a in w]
    v = torch.autograd.grad(case.outer(end), end, allow_unused=True, materialize_grads=True)
    through = torch.autograd.grad(w, case.hyper, grad_outputs=v, allow_unused=True)
    return scale(-1.0, filled(through, case.hyper))


def implicit_reference(case: Case, damping: float) -> list[Tensor]:
    """Return J (H + damping I)^-1 v by a dense solve.

    If H does not fit in memory, conjugate gradients run until the residual is 1e-6 of v.
    """
    if damping in case.known:
        return case.known[damping]
    _, v = case.outer_gradients()
    if case.dense:
        eye = torch.eye(len(case.hessian), dtype=case.hessian.dtype)
        x = torch.linalg.solve(case.hessian + damping * eye, flatten(v))
        found = unflatten(case.mixed @ x, case.hyper)
    else:
        settings = {"method": "cg", "iterations": 100, "tolerance": 1e-6, "damping": damping}
        tight = parse(settings)
        products = make_products(tight, lambda: case.inner(case.params), case.params, case.hyper)
        found, _ = implicit_gradient(tight, products=products, v=v)
    case.known[damping] = found
    return found


def mixed_reference(case: Case) -> list[Tensor]:
    """Return J v, the formula of betty's darts, by double backward of one expression."""
    if "J v" not in case.known:
        _, v = case.outer_gradients()
        w = case.params
        g = torch.autograd.grad(case.inner(w), w, create_graph=True, materialize_grads=True)
        product = torch.stack([(a * b).sum() for a, b in zip(g, v, strict=True)]).sum()
        through = torch.autograd.grad(product, case.hyper, allow_unused=True)
        case.known["J v"] = filled(through, case.hyper)
    return case.known["J v"]
