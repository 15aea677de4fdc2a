"""betty's door to our hypergradient methods: one entry in its table of best-response Jacobians."""

from collections.abc import Sequence

from betty.hypergradient import jvp_fn_mapping
from torch import Tensor

from autolora_meta.bilevel.diagnostics import examine
from autolora_meta.bilevel.problem import BETTY_NAME, LoraProblem
from autolora_meta.hypergradients.implicit import implicit_term, make_products, solution
from autolora_meta.hypergradients.unrolled import unrolled_gradient
from autolora_meta.hypergradients.updates import inner_update
from autolora_meta.hypergradients.vectors import scale


def implicit_part(
    vector: Sequence[Tensor], curr: LoraProblem, prev: LoraProblem, sync: bool
) -> list[Tensor]:
    """-weight * J x with H x = v, by the method that `curr` is configured with; balanced as 1.

    The entry in betty's table of best-response Jacobians: same arguments, same sign.
    """
    hyper = prev.parameters()
    implicit = _implicit_part(vector, curr, hyper)
    curr.examined = examine(curr, hyper, vector, implicit) if curr.examination_is_due else None
    return implicit


def _implicit_part(
    vector: Sequence[Tensor], curr: LoraProblem, hyper: Sequence[Tensor]
) -> list[Tensor]:
    method, params = curr.hypergradient, curr.trainable_parameters()
    assert method is not None, f"the inner problem '{curr.name}' has no hypergradient method"
    if method.method == "unrolled":
        with curr.at(None):
            through, cost = unrolled_gradient(curr.recorded, params, hyper, vector)
        curr.cost += cost
        curr.solved = None
        return scale(-method.factor, through)
    # One-step methods differentiate the step just taken, at the weights before it; methods of the
    # inner optimum stay at the weights after it.
    before = method.record.evaluated_at == "before"
    with curr.at(curr.before if before else None):
        products = make_products(
            method,
            curr.replayed_loss,
            params,
            hyper,
            centre=curr.centre if before else None,
            precision=curr.precision,
        )
        inner = inner_update(curr.optimizer, params, curr.step_gradient)
        curr.solution, curr.solved = solution(method, products=products, v=vector, inner=inner)
        result = implicit_term(method, products, curr.solution)
    curr.cost += products.cost
    return scale(-1.0, result)


jvp_fn_mapping[BETTY_NAME] = implicit_part
