import pytest
import torch

from autolora_meta.errors import InputError
from autolora_meta.foundation.cost import Cost
from autolora_meta.hypergradients.products import AutogradProducts
from autolora_meta.hypergradients.unrolled import record_step, unrolled_gradient
from autolora_meta.hypergradients.updates import adam_jacobian, inner_update, rules_of
from autolora_meta.hypergradients.vectors import add_scaled, scale
from tests.hypergradients.closed_forms import attention, outer_gradient, relative_error

SGD, Adam, AdamW = torch.optim.SGD, torch.optim.Adam, torch.optim.AdamW
OPTIMIZERS = [
    (SGD, {"lr": 0.3}),
    (SGD, {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.05}),
    (SGD, {"lr": 0.1, "momentum": 0.8, "nesterov": True}),
    (SGD, {"lr": 0.1, "momentum": 0.8, "dampening": 0.3, "maximize": True}),
    (Adam, {"lr": 0.02, "weight_decay": 0.1}),
    (AdamW, {"lr": 0.02, "weight_decay": 0.1, "betas": (0.8, 0.9)}),
    (AdamW, {"lr": 0.02, "eps": 1e-3, "maximize": True}),
]


def grouped(kind, params, settings):
    """Two groups with learning rates of their own, as a head and adapters have."""
    other = settings | {"lr": settings["lr"] / 2}
    return kind([{"params": params[:1], **settings}, {"params": params[1:], **other}], lr=1.0)


def take(optimizer, problem, steps, record=False):
    recorded = []
    for _ in range(steps):
        optimizer.zero_grad()
        problem.inner().backward()
        if record:
            recorded.append(record_step(optimizer, problem.params, problem.inner))
        optimizer.step()
    for tensor in (*problem.params, *problem.hyper):
        tensor.grad = None
    return recorded


def outer_after_real_steps(kind, settings, logits, warm, steps) -> float:
    problem = attention(0.2)
    optimizer = grouped(kind, problem.params, settings)
    take(optimizer, problem, warm)
    with torch.no_grad():
        problem.hyper[0].copy_(logits)
    take(optimizer, problem, steps)
    return problem.outer().item()


@pytest.mark.parametrize(("kind", "settings"), OPTIMIZERS)
@pytest.mark.parametrize(("warm", "steps"), [(0, 1), (2, 3)])
def test_the_whole_run_agrees_with_differences_of_real_steps(kind, settings, warm, steps):
    problem = attention(0.2)
    optimizer = grouped(kind, problem.params, settings)
    take(optimizer, problem, warm)
    recorded = take(optimizer, problem, steps, record=True)
    direct = torch.autograd.grad(problem.outer(), problem.hyper)
    before = [w.detach().clone() for w in problem.params]
    implicit, cost = unrolled_gradient(
        recorded, problem.params, problem.hyper, outer_gradient(problem)
    )
    found = add_scaled(direct, -1.0, implicit)
    assert cost == Cost(steps, steps, steps)
    assert all(torch.equal(w, old) for w, old in zip(problem.params, before, strict=True))

    logits, radius = problem.hyper[0].detach(), 1e-4
    expected = torch.zeros_like(logits)
    for i in range(len(logits)):
        sides = []
        for shift in (-2, -1, 1, 2):
            moved = logits.clone()
            moved[i] += shift * radius
            sides.append(outer_after_real_steps(kind, settings, moved, warm, steps))
        # Fourth order: (f(-2h) - 8 f(-h) + 8 f(h) - f(2h)) / 12 h
        expected[i] = (sides[0] - 8 * sides[1] + 8 * sides[2] - sides[3]) / (12 * radius)
    assert relative_error(found, [expected]) <= 1e-6


def test_one_step_of_sgd_is_the_formula_by_hand():
    problem = attention(0.2)
    rates = (0.3, 0.15)
    optimizer = grouped(SGD, problem.params, {"lr": 0.3})
    start = [w.detach().clone() for w in problem.params]
    recorded = take(optimizer, problem, 1, record=True)
    v = outer_gradient(problem)
    found, _ = unrolled_gradient(recorded, problem.params, problem.hyper, v)
    with torch.no_grad():
        for w, old in zip(problem.params, start, strict=True):
            w.copy_(old)
    # w' = w - eta g_w(w, a), so df/da = f_a - J (eta v) with J at w
    x = [rate * part for rate, part in zip(rates, v, strict=True)]
    expected = AutogradProducts(problem.inner, problem.params, problem.hyper).mixed(x)
    assert relative_error(found, expected) <= 1e-9


@pytest.mark.parametrize("kind", [Adam, AdamW])
def test_reverse_mode_is_finite_where_gradients_and_moments_are_zero(kind):
    problem = attention()
    with torch.no_grad():
        problem.params[1].zero_()  # B = 0: the gradient of A is exactly zero
    optimizer = kind(problem.params, lr=0.01)
    recorded = take(optimizer, problem, 2, record=True)
    found, _ = unrolled_gradient(recorded, problem.params, problem.hyper, outer_gradient(problem))
    assert torch.isfinite(found[0]).all()


def test_the_adam_update_at_zero_has_its_true_slope():
    w, eps = torch.zeros(1, dtype=torch.float64, requires_grad=True), 1e-3
    optimizer = Adam([w], lr=0.1, eps=eps)
    (rule,) = rules_of(optimizer, [w])
    g = torch.zeros(1, dtype=torch.float64, requires_grad=True)
    stepped, _ = rule(w, g, rule.state)
    # At the first step u(g) = lr g / (|g| + eps), so u'(0) = lr / eps
    assert torch.autograd.grad(stepped, g)[0].item() == pytest.approx(-0.1 / eps)
    zero = torch.zeros(1, dtype=torch.float64)
    jacobian = adam_jacobian(zero, zero, zero, 1, 0.1, (0.9, 0.999), eps)
    assert jacobian.item() == pytest.approx(0.1 / eps)


@pytest.mark.parametrize(("kind", "settings"), [case for case in OPTIMIZERS if case[0] is not SGD])
def test_the_adam_jacobian_is_the_derivative_of_the_real_step(kind, settings):
    problem = attention(0.2)
    optimizer = grouped(kind, problem.params, settings)
    take(optimizer, problem, 2)
    rules = rules_of(optimizer, problem.params)
    gradients = torch.autograd.grad(problem.inner(), problem.params)
    expected = []
    for rule, w, g in zip(rules, problem.params, gradients, strict=True):
        leaf = g.clone().requires_grad_()
        stepped, _ = rule(w.detach(), leaf, rule.state)
        # The update is elementwise: the gradient of the sum is the diagonal.
        expected.append(-torch.autograd.grad(stepped.sum(), leaf)[0])
    take(optimizer, problem, 1)
    found = inner_update(optimizer, problem.params, gradients)
    assert found.learning_rates == (settings["lr"], settings["lr"] / 2)
    assert found.jacobian is not None
    assert relative_error(found.jacobian, expected) <= 1e-10


@pytest.mark.parametrize(("kind", "settings"), OPTIMIZERS)
def test_a_rule_is_the_step_that_torch_takes(kind, settings):
    problem = attention()
    optimizer = grouped(kind, problem.params, settings)
    take(optimizer, problem, 2)
    before = [w.detach().clone() for w in problem.params]
    rules = rules_of(optimizer, problem.params)
    gradients = torch.autograd.grad(problem.inner(), problem.params)
    expected = [
        rule(w, g, rule.state)[0] for rule, w, g in zip(rules, before, gradients, strict=True)
    ]
    take(optimizer, problem, 1)
    assert relative_error(problem.params, expected) <= 1e-14


def test_other_optimizers_are_refused_with_the_choices():
    problem = attention()
    with pytest.raises(InputError, match=r"RMSprop.*AdamW"):
        rules_of(torch.optim.RMSprop(problem.params), problem.params)
    with pytest.raises(InputError, match="amsgrad"):
        rules_of(Adam(problem.params, amsgrad=True), problem.params)
    with pytest.raises(InputError, match="not in the inner optimizer"):
        rules_of(Adam(problem.params[:1]), problem.params)
    optimizer = SGD(problem.params, lr=0.1)
    with pytest.raises(InputError, match="SGD"):
        inner_update(optimizer, problem.params, scale(1.0, problem.params))
