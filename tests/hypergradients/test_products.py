import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

from autolora_meta.foundation.cost import Cost
from autolora_meta.hypergradients.exact import dense_hessian, dense_mixed
from autolora_meta.hypergradients.finite_difference import FiniteDifferenceProducts, Scheme
from autolora_meta.hypergradients.products import AutogradProducts
from autolora_meta.hypergradients.vectors import flatten, scale, unflatten, zeros_like
from tests.hypergradients.closed_forms import attention, outer_gradient, relative_error, ridge


@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_double_backward_gives_the_dense_products(dropout):
    problem = attention(dropout)
    v = outer_gradient(problem)
    products = AutogradProducts(problem.inner, problem.params, problem.hyper)
    dense = dense_hessian(problem.inner, problem.params) @ flatten(v)
    mixed = dense_mixed(problem.inner, problem.params, problem.hyper) @ flatten(v)
    assert relative_error(products.hessian(v), unflatten(dense, v)) <= 1e-9
    assert relative_error(products.mixed(v), unflatten(mixed, problem.hyper)) <= 1e-9
    hessian, both = products.both(v)
    assert relative_error(hessian, products.hessian(v)) <= 1e-14
    assert relative_error(both, products.mixed(v)) <= 1e-14


@pytest.mark.parametrize("dropout", [0.0, 0.3])
@pytest.mark.parametrize(("scheme", "allowed"), [("central", 1e-6), ("forward", 1e-5)])
def test_differences_agree_with_double_backward_in_float64(scheme: Scheme, allowed, dropout):
    problem = attention(dropout)
    v = outer_gradient(problem)
    exact = AutogradProducts(problem.inner, problem.params, problem.hyper)
    found = FiniteDifferenceProducts(problem.inner, problem.params, problem.hyper, scheme=scheme)
    assert relative_error(found.hessian(v), exact.hessian(v)) <= allowed
    assert relative_error(found.mixed(v), exact.mixed(v)) <= allowed


@pytest.mark.parametrize(("scheme", "allowed"), [("central", 1e-3), ("forward", 5e-3)])
def test_differences_choose_a_good_step_in_float32(scheme: Scheme, allowed):
    problem = attention(0.1, torch.float32)
    v = outer_gradient(problem)
    exact = AutogradProducts(problem.inner, problem.params, problem.hyper)
    found = FiniteDifferenceProducts(problem.inner, problem.params, problem.hyper, scheme=scheme)
    assert relative_error(found.mixed(v), exact.mixed(v)) <= allowed
    # The step follows the length of the direction, whatever that is.
    assert relative_error(found.mixed(scale(1e-6, v)), scale(1e-6, exact.mixed(v))) <= allowed


def test_the_step_grows_as_the_precision_of_the_passes_falls():
    problem = attention(0.0, torch.float32)
    tensors = (problem.params, problem.hyper)
    fine = FiniteDifferenceProducts(problem.inner, *tensors)
    coarse = FiniteDifferenceProducts(problem.inner, *tensors, precision=torch.bfloat16)
    given = FiniteDifferenceProducts(problem.inner, *tensors, radius=0.5)
    assert coarse.radius > 10 * fine.radius
    assert given.radius == 0.5


@pytest.mark.parametrize("scheme", ["central", "forward"])
def test_weights_come_back_bit_for_bit(scheme: Scheme):
    problem = attention(0.1, torch.float32)
    before = [w.detach().clone() for w in problem.params]
    v = outer_gradient(problem)
    FiniteDifferenceProducts(problem.inner, problem.params, problem.hyper, scheme=scheme).mixed(v)
    assert all(torch.equal(w, old) for w, old in zip(problem.params, before, strict=True))


@pytest.mark.parametrize("fails_at", [1, 2])
def test_weights_come_back_when_a_pass_raises(fails_at):
    problem = attention(0.1, torch.float32)
    before = [w.detach().clone() for w in problem.params]
    v = outer_gradient(problem)
    calls = 0

    def loss():
        nonlocal calls
        calls += 1
        if calls == fails_at:
            raise RuntimeError("out of memory")
        return problem.inner()

    with pytest.raises(RuntimeError, match="out of memory"):
        FiniteDifferenceProducts(loss, problem.params, problem.hyper).hessian(v)
    assert all(torch.equal(w, old) for w, old in zip(problem.params, before, strict=True))


class Square(torch.autograd.Function):
    """x^2 whose gradient cannot be differentiated again, like many kernels written by hand."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x * x

    @staticmethod
    def backward(ctx, gradient):
        if torch.is_grad_enabled():
            raise RuntimeError("no double backward")
        return 2 * ctx.saved_tensors[0] * gradient


def test_differences_never_need_a_double_backward():
    w = torch.tensor([0.5, -2.0], dtype=torch.float64, requires_grad=True)
    a = torch.tensor([3.0, 1.0], dtype=torch.float64, requires_grad=True)
    p = [torch.tensor([1.0, 2.0], dtype=torch.float64)]

    def loss():
        return (Square.apply(a * w) ** 2).sum()

    with pytest.raises(RuntimeError, match="no double backward"):
        AutogradProducts(loss, [w], [a]).hessian(p)
    # g = a^4 w^4: H = diag(12 a^4 w^2), J = diag(16 a^3 w^3)
    products = FiniteDifferenceProducts(loss, [w], [a])
    torch.testing.assert_close(products.hessian(p)[0], 12 * (a**4 * w**2).detach() * p[0])
    torch.testing.assert_close(products.mixed(p)[0], 16 * (a**3 * w**3).detach() * p[0])


def test_fused_attention_gets_a_double_backward_without_reloading():
    problem = attention(0.0, torch.float32)
    v = outer_gradient(problem)

    def fused():
        # As on a machine where torch would pick the fused kernel by itself.
        with sdpa_kernel(SDPBackend.FLASH_ATTENTION):
            return problem.inner()

    with pytest.raises(RuntimeError, match="not implemented"):
        AutogradProducts(fused, problem.params, problem.hyper).hessian(v)
    found = AutogradProducts(problem.inner, problem.params, problem.hyper).mixed(v)
    differences = FiniteDifferenceProducts(fused, problem.params, problem.hyper).mixed(v)
    assert relative_error(found, differences) <= 1e-2


def test_costs_count_passes():
    problem, _ = ridge()
    v = outer_gradient(problem)
    exact = AutogradProducts(problem.inner, problem.params, problem.hyper)
    assert exact.cost == Cost()
    exact.hessian(v)
    exact.mixed(v)
    assert exact.cost == Cost(1, 1, 2)

    central = FiniteDifferenceProducts(problem.inner, problem.params, problem.hyper)
    central.mixed(v)
    assert central.cost == Cost(2, 2)

    centre = torch.autograd.grad(problem.inner(), [*problem.params, *problem.hyper])
    for known, passes in [(None, 3), ((centre[:1], centre[1:]), 2)]:
        forward = FiniteDifferenceProducts(
            problem.inner, problem.params, problem.hyper, scheme="forward", centre=known
        )
        forward.hessian(v)
        forward.mixed(v)
        assert forward.cost == Cost(passes, passes)


def test_a_loss_without_curvature_or_coupling_has_zero_products():
    w = torch.ones(3, requires_grad=True)
    a = torch.ones(2, requires_grad=True)
    for kind in (AutogradProducts, FiniteDifferenceProducts):
        products = kind(lambda: w.sum() + (a**2).sum(), [w], [a])
        assert torch.equal(products.hessian([torch.ones(3)])[0], torch.zeros(3))
        assert torch.equal(products.mixed([torch.ones(3)])[0], torch.zeros(2))


def test_a_zero_direction_costs_nothing_and_gives_zero():
    problem = attention()
    products = FiniteDifferenceProducts(problem.inner, problem.params, problem.hyper)
    found = products.mixed(zeros_like(problem.params))
    assert torch.equal(found[0], torch.zeros_like(problem.hyper[0]))
    assert products.cost == Cost()


@pytest.mark.parametrize("scheme", ["central", "forward"])
def test_each_member_of_one_pass_has_the_difference_that_it_has_alone(scheme: Scheme):
    torch.manual_seed(0)
    sizes = torch.tensor([1.0, 1e-3, 50.0], dtype=torch.float64)
    w = [torch.randn(3, *shape, dtype=torch.float64) for shape in ((4, 2), (5,))]
    w = [(part * sizes.view(3, *[1] * (part.ndim - 1))).requires_grad_() for part in w]
    a = [torch.randn(3, 2, dtype=torch.float64, requires_grad=True)]
    v = [torch.randn_like(part) for part in w]
    for part in v:
        part[1] = 0  # it does not move
    x = torch.randn(3, 6, 4, dtype=torch.float64)

    def losses(w, a, x):
        return ((x @ w[0]).tanh() @ a[0].exp()[..., None]).squeeze(-1).square().mean(-1) * (
            1 + w[1].sin().square().sum(-1)
        )

    found = FiniteDifferenceProducts(lambda: losses(w, a, x).sum(), w, a, scheme=scheme, members=3)
    h, j = found.hessian(v), found.mixed(v)
    assert all((part[1] == 0).all() and not part.requires_grad for part in [*h, *j])
    for r in (0, 2):
        own, hyper = ([p.detach()[r].requires_grad_() for p in each] for each in (w, a))
        alone = FiniteDifferenceProducts(
            lambda own=own, hyper=hyper, r=r: losses(own, hyper, x[r]), own, hyper, scheme=scheme
        )
        direction = [part[r] for part in v]
        assert relative_error([p[r] for p in h], alone.hessian(direction)) <= 1e-7
        assert relative_error([p[r] for p in j], alone.mixed(direction)) <= 1e-7
