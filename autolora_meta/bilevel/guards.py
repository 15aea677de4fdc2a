"""What stops a search: methods that the base cannot carry, and numbers that are none."""

import logging
import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

from autolora_meta.bilevel.base import coarse_dtype, quantisation
from autolora_meta.bilevel.inner import Inner
from autolora_meta.bilevel.watch import REPLAY
from autolora_meta.errors import InputError, NotFinite
from autolora_meta.foundation.cost import Cost
from autolora_meta.hypergradients.finite_difference import FiniteDifferenceProducts
from autolora_meta.hypergradients.methods import METHODS
from autolora_meta.hypergradients.products import AutogradProducts
from autolora_meta.hypergradients.solvers import SolverRecord
from autolora_meta.hypergradients.vectors import Vector, add_scaled, inner_products, parts_of

LOG = logging.getLogger("autolora_meta")
# Relative difference of one mixed product taken both ways. Kinks (ReLU) are seen by a difference
# and not by autograd, so what is merely unequal is told and what is another number is refused.
TELL, REFUSE = 0.05, 0.5


def check_second_order(inner: Inner, hyper: Vector) -> Cost:
    """Refuse a method by double backward on a base that has none, before the search begins.

    A kernel can lack its second derivative silently, so one product J v by autograd is compared
    with the same product by finite differences, on the first batch; v is the gradient there.

    Args:
        inner: the inner problem, at the start of the search; its batches and masks do not move on.
        hyper: the gates' logits.

    Returns:
        What the check cost; nothing for methods that take gradients only.

    Raises:
        InputError: the base has no double backward; the methods that would work are named.
    """
    method = inner.hypergradient
    if method is None or not method.record.needs_double_backward:
        return Cost()
    if bits := quantisation(inner.module):
        raise InputError(_refusal(method.method, f"the base is stored in {bits}"))
    params, step = inner.parameters(), inner.next_step()

    def loss() -> Any:
        return inner.replayed_loss(step)

    exact = AutogradProducts(loss, params, hyper)
    coarse = coarse_dtype(inner.module)
    with inner.at(None), sdpa_kernel(SDPBackend.MATH):
        try:
            v = exact.gradient()
            by_autograd = exact.mixed(v)
        except RuntimeError as error:
            if "derivative" not in str(error) and "differentiate" not in str(error):
                raise
            raise InputError(_refusal(method.method, str(error).splitlines()[0])) from None
        differences = FiniteDifferenceProducts(
            loss, params, hyper, precision=coarse, members=inner.members
        )
        by_difference = differences.mixed(v)
    rest = add_scaled(by_autograd, -1.0, by_difference)
    pairs = [(one, one) for one in (rest, by_autograd, by_difference)]
    shares = [(d / (max(x, y) or 1.0)) ** 0.5 for d, x, y in inner_products(pairs, inner.members)]
    # A search that is not finite is told at its first step, and hides no other here.
    apart = max((share for share in shares if math.isfinite(share)), default=0.0)
    if apart > REFUSE:
        reason = f"one mixed product by autograd and by finite differences differ by {apart:.0%}"
        raise InputError(_refusal(method.method, reason))
    if apart > TELL and coarse is None:
        LOG.warning(
            "one mixed product by autograd and by finite differences differ by %.0f%%: the model "
            "has kinks (ReLU), or an operation without a second derivative. "
            "search.hypergradient=darts needs none",
            100 * apart,
        )
    return exact.cost + differences.cost


def _refusal(method: str, reason: str) -> str:
    fit = [name for name, record in METHODS.items() if not record.needs_double_backward]
    return (
        f"search.hypergradient '{method}' needs a double backward, which this model does not have: "
        f"{reason}. Methods that work: {', '.join(fit)}, or a solver with "
        "products: finite_difference in its place"
    )


def check_replay(inner: Inner) -> Cost:
    """Warn before a search whose loss cannot be evaluated twice.

    The loss of the first batch is taken twice from one random state. Where the two differ,
    something draws from a generator of its own, and the sides of a finite difference see other
    noise.

    Args:
        inner: the inner problem, at the start of the search; its batches and masks do not move on.

    Returns:
        What the check cost: two forward passes; nothing for methods without an implicit part.
    """
    method = inner.hypergradient
    if method is None or method.record.solver == "zero":
        return Cost()
    step = inner.next_step()
    with torch.no_grad(), inner.at(None):
        first, second = (float(sum(parts_of(inner.replayed_loss(step)))) for _ in range(2))
    apart = abs(first - second) / (max(abs(first), abs(second)) or 1.0)
    if apart > REPLAY:
        LOG.warning(
            "the same batch from the same random state gave losses that differ by %.1e of their "
            "size (at most %g is sound). The model or the loss draws from a generator of its own; "
            "those of torch, NumPy's np.random and Python's random are replayed. Finite "
            "differences are noise then: draw from one of those three, or take "
            "search.hypergradient=first_order",
            apart,
            REPLAY,
        )
    return Cost(forwards=2)


def stop_unless_finite(
    inner: Inner,
    losses: Sequence[float],
    sizes: Sequence[Mapping[str, float]],
    solver: SolverRecord | None,
) -> None:
    """Stop before the gates step along a hypergradient that is not a number.

    Args:
        inner: the inner problem; the gates still hold their last good values.
        losses: f at this step, of each search.
        sizes: of each search, the lengths of what the hypergradient is made of, by name, in the
            order in which it arises.
        solver: what the solver did.

    Raises:
        NotFinite: a loss or a part is not finite; says which, the method, the step. Where several
            searches share a pass, that one is left behind instead.
    """
    found = {}
    for number, (loss, own) in enumerate(zip(losses, sizes, strict=True)):
        bad = [name for name, size in own.items() if not math.isfinite(size)]
        if not math.isfinite(loss):
            bad.insert(0, f"the validation loss ({loss})")
        if not math.isfinite(inner.losses[number]):
            bad.insert(0, f"the loss of '{inner.name}' ({inner.losses[number]})")
        if bad:
            assert inner.hypergradient is not None
            solved = f" ({solver.message})" if solver and solver.message else ""
            found[number] = NotFinite(
                f"{bad[0]} is not finite at inner step {inner.count} of the search, with "
                f"hypergradient {inner.hypergradient.method}{solved}. The gates stay as the step "
                f"before left them. {_remedy(inner)}, or take another hypergradient method"
            )
    inner.lose(found)


def stop_unless_finite_loss(inner: Inner) -> None:
    """Stop after an inner step whose loss was not a number.

    Raises:
        NotFinite: says the loss and the step; as of `stop_unless_finite`.
    """
    inner.lose(
        {
            number: NotFinite(
                f"the loss of '{inner.name}' is {loss} at inner step {inner.count} of the "
                f"search. {_remedy(inner)}"
            )
            for number, loss in enumerate(inner.losses)
            if not math.isfinite(loss)
        }
    )


def _remedy(inner: Inner) -> str:
    rate = inner.optimizer.param_groups[0]["lr"]
    return f"Lower search.inner.learning_rate (now {rate:g})"
