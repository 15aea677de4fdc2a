import math
from itertools import pairwise

import pytest
import torch
from pydantic import ValidationError

from autolora_meta.errors import InputError
from autolora_meta.hypergradients.methods import SOLVERS
from autolora_meta.hypergradients.nystrom import NystromOptions, nystrom
from autolora_meta.hypergradients.solvers import (
    AdamOptions,
    ConjugateGradientOptions,
    IdentityOptions,
    InnerUpdate,
    NeumannOptions,
    ZeroOptions,
    adam,
    conjugate_gradient,
    identity,
    neumann,
    zero,
)
from autolora_meta.hypergradients.vectors import add_scaled, flatten, norm, scale
from tests.hypergradients.closed_forms import (
    dense_solve,
    matvec_of,
    relative_error,
    spectrum,
    vector,
)


def cg_options(iterations: int, damping: float = 0.0) -> ConjugateGradientOptions:
    return ConjugateGradientOptions(iterations=iterations, damping=damping, tolerance=1e-14)


@pytest.mark.parametrize(("condition", "iterations"), [(2, 20), (10, 20), (100, 60), (1e3, 60)])
def test_cg_solves(condition, iterations):
    matrix, v = spectrum(condition), vector()
    x, record = conjugate_gradient(matvec_of(matrix), v, cg_options(iterations))
    assert relative_error(x, dense_solve(matrix, v)) <= 1e-8
    assert record.residual is not None and record.residual <= 1e-8


def test_cg_improves_with_every_iteration():
    matrix, v = spectrum(100), vector()
    true = dense_solve(matrix, v)

    def energy(iterations: int) -> float:
        x, _ = conjugate_gradient(matvec_of(matrix), v, cg_options(iterations))
        error = flatten(add_scaled(x, -1.0, true))
        return float(error @ matrix @ error)

    # CG minimises (x - x*)^T H (x - x*) over growing spaces.
    errors = [energy(k) for k in range(1, 15)]
    assert all(later < earlier for earlier, later in pairwise(errors))


def test_cg_is_damped_and_stops_at_its_tolerance():
    matrix, v = spectrum(1e3), vector()
    options = ConjugateGradientOptions(iterations=60, damping=0.1, tolerance=1e-6)
    x, record = conjugate_gradient(matvec_of(matrix), v, options)
    assert record.stopped == "converged" and record.iterations < 60
    assert record.smallest_curvature is not None and record.smallest_curvature >= 1e-3
    assert relative_error(x, dense_solve(matrix, v, damping=0.1)) <= 1e-4
    residual = add_scaled(add_scaled(matvec_of(matrix)(x), 0.1, x), -1.0, v)
    assert norm(residual) / norm(v) == pytest.approx(record.residual, rel=1e-4)


def test_cg_stops_at_negative_curvature_with_the_iterate_before_it():
    matrix = torch.diag(torch.tensor([4.0, 2.0, -1.0], dtype=torch.float64))
    v = [torch.tensor([1.0, 1.0, 0.3], dtype=torch.float64)]
    x, record = conjugate_gradient(matvec_of(matrix), v, cg_options(10))
    assert record.stopped == "negative curvature"
    assert record.smallest_curvature is not None and record.smallest_curvature < 0
    assert "damping" in record.message
    before, _ = conjugate_gradient(matvec_of(matrix), v, cg_options(record.iterations - 1))
    assert torch.equal(x[0], before[0]) and norm(x) > 0
    # The damping that it asks for makes it whole.
    x, record = conjugate_gradient(matvec_of(matrix), v, cg_options(10, damping=1.5))
    assert record.stopped == "converged"
    assert relative_error(x, dense_solve(matrix, v, 1.5)) <= 1e-8


def test_cg_says_when_it_ends_worse_than_it_began():
    matrix, v = spectrum(1e6), vector()
    _, record = conjugate_gradient(matvec_of(matrix), v, cg_options(3))
    assert record.residual is not None and record.residual > 1
    assert "damping" in record.message


def test_cg_stops_where_a_product_is_not_finite():
    v = vector()
    x, record = conjugate_gradient(lambda p: scale(math.nan, p), v, cg_options(5))
    assert record.stopped == "diverged" and record.iterations == 1
    assert norm(x) == 0


def test_neumann_is_its_own_partial_sum():
    matrix, v = spectrum(10), vector()
    x, record = neumann(matvec_of(matrix), v, NeumannOptions(iterations=7, step=0.8, damping=0))
    eye = torch.eye(20, dtype=torch.float64)
    powers = [torch.linalg.matrix_power(eye - 0.8 * matrix, i) for i in range(8)]
    assert relative_error([flatten(x)], [0.8 * torch.stack(powers).sum(0) @ flatten(v)]) <= 1e-12
    # The residual it reports is that of the sum one term shorter.
    assert record.residual == pytest.approx(float((powers[7] @ flatten(v)).norm()) / norm(v))


@pytest.mark.parametrize("step", [0.5, 1.9, "auto"])
def test_neumann_error_falls_with_every_term_below_the_bound(step):
    matrix, v = spectrum(10), vector()
    true = dense_solve(matrix, v)
    errors = []
    for terms in (1, 2, 4, 8, 16, 32, 64, 128):
        x, record = neumann(
            matvec_of(matrix), v, NeumannOptions(iterations=terms, step=step, damping=0)
        )
        assert record.stopped == "iterations"
        errors.append(relative_error(x, true))
    assert all(later < earlier for earlier, later in pairwise(errors))
    assert errors[-1] < 1e-3


def test_neumann_reports_a_step_above_the_bound_and_returns_the_best_iterate():
    matrix, v = spectrum(10), vector()
    x, record = neumann(matvec_of(matrix), v, NeumannOptions(iterations=500, step=2.2, damping=0))
    assert record.stopped == "diverged" and record.iterations < 500
    assert "step" in record.message and record.residual is not None and record.residual <= 1
    residual = norm(add_scaled(matvec_of(matrix)(x), -1.0, v)) / norm(v)
    assert residual == pytest.approx(record.residual)


def test_neumann_sees_negative_curvature_and_damping_mends_it():
    matrix = spectrum(10) - 0.5 * torch.eye(20, dtype=torch.float64)
    v = vector()
    _, record = neumann(matvec_of(matrix), v, NeumannOptions(iterations=500, damping=0))
    assert record.stopped == "diverged"
    x, record = neumann(matvec_of(matrix), v, NeumannOptions(iterations=500, damping=0.6))
    assert record.stopped == "iterations"
    assert relative_error(x, dense_solve(matrix, v, 0.6)) <= 1e-6


def test_neumann_without_a_curvature_gives_zero_and_says_so():
    x, record = neumann(lambda p: scale(0.0, p), vector(), NeumannOptions(damping=0))
    assert norm(x) == 0 and record.stopped == "diverged" and record.message


@pytest.mark.parametrize("condition", [10, 1e3, 1e6])
@pytest.mark.parametrize("rho", [1e-2, 1e-1, 1.0])
def test_nystrom_with_all_columns_is_the_damped_inverse(condition, rho):
    matrix, v = spectrum(condition), vector()
    x, record = nystrom(matvec_of(matrix), v, NystromOptions(columns=20, rho=rho))
    assert record.stopped == "exact"
    assert relative_error(x, dense_solve(matrix, v, rho)) <= 1e-6


def test_nystrom_needs_as_many_columns_as_the_rank():
    basis = spectrum(2)[:, :3]
    matrix, v = basis @ basis.T, vector()
    options = NystromOptions(columns=3, rho=1e-2, seed=3)
    x, record = nystrom(matvec_of(matrix), v, options)
    assert record.iterations == 3 and record.residual is None
    assert relative_error(x, dense_solve(matrix, v, 1e-2)) <= 1e-6


def test_nystrom_draws_its_columns_by_seed():
    matrix, v = spectrum(100), vector()

    def solve(seed: int) -> torch.Tensor:
        options = NystromOptions(columns=4, seed=seed)
        return flatten(nystrom(matvec_of(matrix), v, options)[0])

    assert torch.equal(solve(0), solve(0))
    assert not torch.equal(solve(0), solve(1))


def test_nystrom_of_an_indefinite_matrix_is_exact_and_flagged():
    matrix = spectrum(10) - 0.5 * torch.eye(20, dtype=torch.float64)
    v = vector()
    x, record = nystrom(matvec_of(matrix), v, NystromOptions(columns=20, rho=0.01))
    assert record.stopped == "negative curvature" and "rho" in record.message
    assert record.smallest_curvature == pytest.approx(-0.4)
    assert relative_error(x, dense_solve(matrix, v, 0.01)) <= 1e-6


def test_one_step_solvers_follow_their_formula():
    v = vector()
    inner = InnerUpdate((0.1, 0.2), scale(3.0, [part.abs() for part in v]))
    assert norm(zero(None, v, ZeroOptions(), inner)[0]) == 0  # type: ignore[arg-type]
    half, _ = identity(matvec_of(spectrum(2)), v, IdentityOptions(scale=0.5))
    assert relative_error(half, scale(0.5, v)) == 0
    rated, _ = identity(matvec_of(spectrum(2)), v, IdentityOptions(), inner)
    assert torch.equal(rated[0], 0.1 * v[0]) and torch.equal(rated[1], 0.2 * v[1])
    adapted, _ = adam(matvec_of(spectrum(2)), v, AdamOptions(), inner)
    assert torch.equal(adapted[1], 3.0 * v[1].abs() * v[1])


@pytest.mark.parametrize(
    ("solver", "options"), [(identity, IdentityOptions()), (adam, AdamOptions())]
)
def test_one_step_solvers_say_what_they_miss(solver, options):
    with pytest.raises(InputError, match="none w"):
        solver(matvec_of(spectrum(2)), vector(), options)


@pytest.mark.parametrize("name", list(SOLVERS))
def test_solvers_leave_v_as_it_was(name):
    v = vector()
    before = [part.clone() for part in v]
    inner = InnerUpdate((0.1, 0.2), scale(2.0, v))
    x, _ = SOLVERS[name].solve(matvec_of(spectrum(10)), v, SOLVERS[name].options(), inner)
    for part in x:
        part.mul_(0)
    assert all(torch.equal(part, old) for part, old in zip(v, before, strict=True))


@pytest.mark.parametrize("name", list(SOLVERS))
def test_a_zero_v_gives_a_zero_x(name):
    v = scale(0.0, vector())
    inner = InnerUpdate((0.1, 0.2), vector())
    x, record = SOLVERS[name].solve(matvec_of(spectrum(10)), v, SOLVERS[name].options(), inner)
    assert norm(x) == 0 and record.stopped != "diverged"


@pytest.mark.parametrize(
    ("options", "wrong"),
    [
        (NeumannOptions, {"iterations": 0}),
        (NeumannOptions, {"step": 0.0}),
        (NeumannOptions, {"step": "fast"}),
        (ConjugateGradientOptions, {"damping": -1.0}),
        (ConjugateGradientOptions, {"iterations": 0}),
        (NystromOptions, {"columns": 0}),
        (NystromOptions, {"rho": 0.0}),
    ],
)
def test_options_out_of_range_are_refused(options, wrong):
    with pytest.raises(ValidationError):
        options(**wrong)
