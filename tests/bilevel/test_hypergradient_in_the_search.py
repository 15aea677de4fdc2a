"""The step that the gates take in a search, against derivatives taken in one piece by autograd."""

import pytest
import torch
from peft import PeftModel
from torch import Tensor
from torch.func import functional_call
from torch.nn.attention import SDPBackend, sdpa_kernel

from autolora_meta.bilevel.engine import SearchEngine
from autolora_meta.bilevel.gating import Gates
from autolora_meta.foundation.randomness import RandomState, replay
from autolora_meta.hypergradients.exact import dense_hessian, dense_mixed
from autolora_meta.hypergradients.vectors import flatten, parts_of
from tests.bilevel.program import batches, program

ETA = 0.1
SGD = {"name": "sgd", "learning_rate": ETA}
ONE = {"name": "sgd", "learning_rate": 1.0}  # the logits then move by minus the hypergradient
SOFTMAX = {"constraint": "softmax"}  # where the damping below makes H positive


def options(method: str | dict, weight: object = 1, **others: object) -> dict:
    common = {"inner": SGD, "outer": ONE, "outer_steps": 1, "warmup_steps": 0}
    named = {"method": method} if isinstance(method, str) else method
    return common | {"hypergradient": {**named, "weight": weight}} | others


def step_of(gates: Gates, engine: SearchEngine) -> Tensor:
    """The hypergradient that one outer step of the engine used."""
    before = gates.logits.detach().clone()
    engine.run()
    return before - gates.logits.detach()


def look_ahead_gradient(model: PeftModel, gates: Gates) -> Tensor:
    """d f(w - eta g_w(w, a), a) / da, through the step, by double backward of one expression."""
    named: dict[str, Tensor] = {n: p for n, p in model.named_parameters() if p.requires_grad}
    train, validation = batches(1)[0], batches(2)[0]
    with replay(RandomState.snapshot()), sdpa_kernel(SDPBackend.MATH):
        g = functional_call(model, named, kwargs=train).loss
        gradients = torch.autograd.grad(g, list(named.values()), create_graph=True)
        ahead = {n: p - ETA * d for (n, p), d in zip(named.items(), gradients, strict=True)}
        f = functional_call(model, ahead, kwargs=validation).loss
    return torch.autograd.grad(f, gates.logits)[0]


def relative_error(x: Tensor, reference: Tensor) -> float:
    return float((x - reference).norm() / reference.norm())


@pytest.mark.parametrize("schedule", ["look_ahead", "alternating"])
@pytest.mark.parametrize("dropout", [0.0, 0.3])
@pytest.mark.parametrize(
    ("method", "bound"),
    [
        ("one_step", 1e-9),
        ("unrolled", 1e-9),
        ("darts", 1e-6),
        ({"method": "darts", "scheme": "forward"}, 1e-4),
    ],
)
def test_one_step_methods_are_the_derivative_of_the_look_ahead(method, bound, dropout, schedule):
    with program(dropout, **options(method, schedule=schedule)) as (model, gates, engine):
        exact = look_ahead_gradient(model, gates)
        assert relative_error(step_of(gates, engine), exact) < bound


def test_the_implicit_part_matters_here():
    """Otherwise the test above would pass on the direct part alone."""
    with program(0.3, **options("first_order")) as (model, gates, engine):
        exact = look_ahead_gradient(model, gates)
        assert relative_error(step_of(gates, engine), exact) > 1e-2


@pytest.mark.parametrize(
    "method",
    [
        {"method": "cg", "iterations": 200, "tolerance": 1e-12, "damping": 30.0},
        {"method": "neumann", "iterations": 400, "damping": 30.0},
        {"method": "nystrom", "columns": 339, "rho": 30.0},
    ],
)
def test_implicit_methods_solve_at_the_weights_after_the_step(method):
    """Against dense H and J at w', at the same damping (which makes H positive here)."""
    chosen = options(method, schedule="alternating", gates=SOFTMAX)
    with program(0.0, **chosen) as (_, gates, engine):
        start = gates.logits.detach().clone()
        inner = engine.inner_problem
        taken = step_of(gates, engine)
        end = gates.logits.detach().clone()
        with torch.no_grad():
            gates.logits.copy_(start)  # w is now w', a is again what it was
        w, a = inner.trainable_parameters(), [gates.logits]
        assert sum(p.numel() for p in w) == 339
        f = inner.loss_function(inner.module, batches(2)[0])  # type: ignore[attr-defined]
        f_a, *f_w = torch.autograd.grad(f, [*a, *w])

        def replayed() -> torch.Tensor:
            return torch.stack([*parts_of(inner.replayed_loss())]).sum()

        with sdpa_kernel(SDPBackend.MATH):
            hessian = dense_hessian(replayed, w) + 30.0 * torch.eye(339)
            mixed = dense_mixed(replayed, w, a)
        assert torch.linalg.eigvalsh(hessian).min() > 0
        x = torch.linalg.solve(hessian, flatten(f_w))
        exact = f_a - (mixed @ x).view_as(f_a)
        assert relative_error(taken, exact) < 1e-6
        assert not torch.equal(start, end)


def test_the_weight_scales_the_implicit_part_alone():
    steps = {}
    for weight in (0.0, 1.0, 5.0):
        with program(**options("one_step", weight)) as (_, gates, engine):
            steps[weight] = step_of(gates, engine)
    implicit = steps[1.0] - steps[0.0]
    torch.testing.assert_close(steps[5.0], steps[0.0] + 5 * implicit)


@pytest.mark.parametrize("schedule", ["look_ahead", "alternating"])
@pytest.mark.parametrize("method", ["darts", "sama", "unrolled", {"method": "cg", "damping": 30.0}])
def test_a_balanced_weight_makes_both_parts_equally_long(method, schedule):
    inner = {"name": "adamw", "learning_rate": 2e-3}
    steps, rows = {}, {}
    for weight in (0, 1, "balanced"):
        chosen = options(method, weight, schedule=schedule, inner=inner, gates=SOFTMAX)
        with program(0.3, **chosen) as (_, gates, engine):
            steps[weight] = step_of(gates, engine)
            rows[weight] = engine.course.rows[-1]
    implicit, balanced = steps[1] - steps[0], steps["balanced"] - steps[0]
    assert float(implicit.norm()) != pytest.approx(float(steps[0].norm()), rel=0.05)
    assert float(balanced.norm()) == pytest.approx(float(steps[0].norm()), rel=1e-9)
    # Longer or shorter, in the same direction; and its record tells how long it was by itself.
    torch.testing.assert_close(balanced / balanced.norm(), implicit / implicit.norm())
    assert rows["balanced"]["implicit_norm"] == pytest.approx(float(implicit.norm()))
    assert rows["balanced"]["direct_norm"] == pytest.approx(float(steps[0].norm()))


def test_balance_takes_the_scale_of_the_implicit_part_out():
    steps = []
    for scale in (1e-6, 1.0):
        chosen = options({"method": "darts", "scale": scale}, "balanced")
        with program(**chosen) as (_, gates, engine):
            steps.append(step_of(gates, engine))
    torch.testing.assert_close(*steps)


def test_first_order_has_nothing_to_balance():
    steps = []
    for weight in (1, "balanced"):
        with program(**options("first_order", weight)) as (_, gates, engine):
            steps.append(step_of(gates, engine))
    assert torch.equal(*steps) and torch.isfinite(steps[0]).all()


def test_records_tell_the_parts():
    method = {"method": "cg", "iterations": 4, "damping": 30.0, "tolerance": 0}
    with program(**options(method, gates=SOFTMAX)) as (_, __, engine):
        engine.run()
        row = engine.course.rows[-1]
    assert row["iterations"] == 4 and row["stopped"] == "iterations"
    assert row["direct_norm"] > 0 and row["implicit_norm"] > 0 and -1 <= row["cosine"] <= 1
    assert row["residual"] < 1 and row["smallest_curvature"] is not None
