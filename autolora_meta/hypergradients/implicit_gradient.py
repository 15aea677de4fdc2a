"""The implicit term of the hypergradient: a solver applied to products."""

import torch
from torch import Tensor

from autolora_meta.errors import InputError
from autolora_meta.hypergradients.choice import HypergradientOptions
from autolora_meta.hypergradients.finite_difference import FiniteDifferenceProducts
from autolora_meta.hypergradients.methods import SOLVERS
from autolora_meta.hypergradients.products import AutogradProducts, Products, Replay
from autolora_meta.hypergradients.solvers import InnerUpdate, SolverRecord
from autolora_meta.hypergradients.vectors import Vector, scale, zeros_like


def make_products(
    options: HypergradientOptions,
    loss: Replay,
    params: Vector,
    hyper: Vector,
    *,
    centre: tuple[Vector, Vector] | None = None,
    precision: torch.dtype | None = None,
    members: int | None = None,
) -> Products:
    """Return the products that a method needs, at the current values; no pass runs yet.

    Args:
        options: the method.
        loss: g at the current values of `params` and `hyper`, the same function at each call.
        params: w.
        hyper: a.
        centre: (g_w, g_a) at these values, if known; the forward difference uses them.
        precision: dtype of the passes, if it is below that of `params`.
        members: that all tensors hold, on a leading axis; None: they have none.
    """
    if options.difference is None:
        return AutogradProducts(loss, params, hyper)
    return FiniteDifferenceProducts(
        loss,
        params,
        hyper,
        scheme=options.difference.scheme,
        radius=options.difference.radius,
        centre=centre,
        precision=precision,
        members=members,
    )


def implicit_gradient(
    options: HypergradientOptions,
    *,
    products: Products,
    v: Vector,
    inner: InnerUpdate | None = None,
) -> tuple[list[Tensor], SolverRecord]:
    """Return weight * J x with H x = v as the method solves it; df/da = f_a minus this.

    A balanced weight counts as 1: the caller, who knows f_a, applies it.

    Args:
        options: the method, its solver's options and the weight.
        products: H p and J x of the inner loss, at the point the method asks for.
        v: f_w, in the shapes of w.
        inner: the inner optimizer's step, for `scale: inner_lr` and the `adam` solver.

    Returns:
        The implicit term in the shapes of a, and what the solver did.

    Raises:
        InputError: the method is `unrolled`, or needs an `inner` that was not given.

    Example:
        >>> w, a = (torch.ones(1, requires_grad=True) for _ in range(2))
        >>> products = AutogradProducts(lambda: ((w - a) ** 2).sum(), [w], [a])
        >>> options = HypergradientOptions.model_validate({"method": "cg", "damping": 0})
        >>> implicit_gradient(options, products=products, v=[torch.ones(1)])[0]
        [tensor([-1.])]
    """
    x, record = solution(options, products=products, v=v, inner=inner)
    return implicit_term(options, products, x), record


def solution(
    options: HypergradientOptions,
    *,
    products: Products,
    v: Vector,
    inner: InnerUpdate | None = None,
) -> tuple[list[Tensor], SolverRecord]:
    """Return x with H x = v as the method solves it, and the record; see `implicit_gradient`."""
    name = options.record.solver
    if name is None:
        raise InputError("unrolled has no implicit system to solve: use unrolled_gradient")
    return SOLVERS[name].solve(products.hessian, v, options.solver, inner)


def implicit_term(options: HypergradientOptions, products: Products, x: Vector) -> list[Tensor]:
    """Return weight * J x in the shapes of a, a balanced weight as 1; `zero` runs nothing."""
    if options.record.solver == "zero":
        return zeros_like(products.hyper)
    return scale(options.factor, products.mixed(x))
