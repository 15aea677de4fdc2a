import torch

from autolora_meta.hypergradients.exact import (
    dense_hessian,
    dense_mixed,
)
from autolora_meta.hypergradients.vectors import add_scaled, flatten, norm
from tests.hypergradients.closed_forms import (
    attention,
    dense_solve,
    matvec_of,
    ridge,
    spectrum,
    vector,
)


def test_ridge_has_its_closed_form():
    problem, closed = ridge()
    v = torch.autograd.grad(problem.outer(), problem.params)
    x = dense_solve(dense_hessian(problem.inner, problem.params), v)
    mixed = dense_mixed(problem.inner, problem.params, problem.hyper)
    # f does not depend on a, so df/da = -J H^-1 v
    torch.testing.assert_close(-mixed @ flatten(x), closed, rtol=1e-10, atol=1e-12)


def test_dense_derivatives_agree_with_torch_func():
    matrix = spectrum(5, size=4)
    w = torch.randn(2, 2, dtype=torch.float64, requires_grad=True)
    a = torch.randn(3, dtype=torch.float64, requires_grad=True)

    def g(w, a):
        return torch.sin(w.flatten() @ matrix @ w.flatten()) * (a**2).sum() + a[0] * w[0, 1] ** 3

    hessian = torch.func.jacrev(torch.func.grad(g))(w.detach(), a.detach()).reshape(4, 4)
    torch.testing.assert_close(dense_hessian(lambda: g(w, a), [w]), hessian)
    mixed = torch.func.jacrev(torch.func.grad(g), argnums=1)(w.detach(), a.detach()).reshape(4, 3).T
    torch.testing.assert_close(dense_mixed(lambda: g(w, a), [w], [a]), mixed)


def test_the_hessian_of_gated_attention_is_symmetric():
    problem = attention()
    hessian = dense_hessian(problem.inner, problem.params)
    torch.testing.assert_close(hessian, hessian.T)


def test_dense_solve_is_damped():
    matrix, v = spectrum(100), vector()
    x = dense_solve(matrix, v, damping=0.3)
    back = add_scaled(matvec_of(matrix)(x), 0.3, x)
    assert norm(add_scaled(back, -1.0, v)) < 1e-12
    assert flatten(x).shape == (20,)
