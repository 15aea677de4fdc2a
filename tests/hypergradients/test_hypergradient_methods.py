import pytest
import torch
import yaml
from pydantic import BaseModel, ValidationError

from autolora_meta.errors import InputError
from autolora_meta.foundation.cost import Cost
from autolora_meta.hypergradients.choice import HypergradientOptions, parse
from autolora_meta.hypergradients.exact import dense_hessian, dense_mixed
from autolora_meta.hypergradients.implicit_gradient import implicit_gradient, make_products
from autolora_meta.hypergradients.methods import METHODS, SOLVERS, method
from autolora_meta.hypergradients.solvers import InnerUpdate
from autolora_meta.hypergradients.vectors import add_scaled, flatten, norm, scale, unflatten
from tests.hypergradients.closed_forms import (
    attention,
    dense_solve,
    outer_gradient,
    relative_error,
    ridge,
)

SOLVING = [name for name, record in METHODS.items() if record.solver]


def inner_of(problem) -> InnerUpdate:
    return InnerUpdate((0.1,) * len(problem.params), [0.1 * w.detach() for w in problem.params])


@pytest.mark.parametrize("scheme", ["central", "forward"])
@pytest.mark.parametrize("solver", [name for name in SOLVERS if name != "zero"])
@pytest.mark.parametrize("products", ["autograd", "finite_difference"])
def test_every_solver_with_every_product_costs_what_the_table_says(solver, products, scheme):
    problem = attention()
    given = {"solver": solver, "products": products}
    if products == "finite_difference":
        given["scheme"] = scheme
    if "columns" in SOLVERS[solver].options.model_fields:
        given["columns"] = 3
    if "tolerance" in SOLVERS[solver].options.model_fields:
        given |= {"tolerance": 0.0, "damping": 100.0, "iterations": 4}
    if solver == "neumann":
        given |= {"damping": 100.0, "iterations": 4}
    options = parse(given)
    made = make_products(options, problem.inner, problem.params, problem.hyper)
    v = outer_gradient(problem)
    implicit_gradient(options, products=made, v=v, inner=inner_of(problem))
    assert made.cost == options.cost()


def test_presets_cost_what_they_say_at_their_defaults():
    expected = {
        "first_order": Cost(),
        "darts": Cost(2, 2),
        "one_step": Cost(1, 1, 1),
        "neumann": Cost(1, 1, 16),
        "cg": Cost(1, 1, 11),
        "nystrom": Cost(1, 1, 11),
        "sama": Cost(2, 2),
        "unrolled": Cost(1, 1, 1),
    }
    assert {name: parse(name).cost() for name in METHODS} == expected


def test_a_known_centre_saves_a_pass():
    problem = attention()
    options = parse({"method": "darts", "scheme": "forward"})
    gradients = torch.autograd.grad(problem.inner(), [*problem.params, *problem.hyper])
    centre = (gradients[:2], gradients[2:])
    made = make_products(options, problem.inner, problem.params, problem.hyper, centre=centre)
    v = outer_gradient(problem)
    implicit_gradient(options, products=made, v=v, inner=inner_of(problem))
    assert made.cost == options.cost(centre_known=True) == Cost(1, 1)


def test_every_preset_follows_its_own_formula():
    problem = attention(0.2)
    v, inner = outer_gradient(problem), inner_of(problem)
    hessian = dense_hessian(problem.inner, problem.params)
    mixed = dense_mixed(problem.inner, problem.params, problem.hyper)
    above = 0.1 - float(torch.linalg.eigvalsh(hessian).min())
    assert inner.jacobian is not None
    solved = dense_solve(hessian, v, above)
    cases = [
        ("first_order", scale(0.0, v), 0.0),
        ("darts", scale(0.1, v), 1e-6),
        ("one_step", scale(0.1, v), 1e-9),
        ("sama", [j * part for j, part in zip(inner.jacobian, v, strict=True)], 1e-6),
        ({"method": "neumann", "damping": above, "iterations": 2000}, solved, 1e-6),
        ({"method": "cg", "damping": above, "iterations": 72, "tolerance": 1e-13}, solved, 1e-8),
        ({"method": "nystrom", "rho": above, "columns": 24}, solved, 1e-6),
    ]
    for given, x, allowed in cases:
        options = parse(given)
        made = make_products(options, problem.inner, problem.params, problem.hyper)
        found, _ = implicit_gradient(options, products=made, v=v, inner=inner)
        expected = unflatten(mixed @ flatten(x), problem.hyper)
        assert norm(add_scaled(found, -1.0, expected)) <= allowed * norm(expected), given


@pytest.mark.parametrize(
    "given",
    [
        {"method": "cg", "iterations": 20, "damping": 0.0, "tolerance": 1e-14},
        {"method": "neumann", "iterations": 3000, "damping": 0.0},
        {"solver": "conjugate_gradient", "products": "finite_difference", "damping": 0.0},
    ],
)
def test_the_optimum_methods_find_the_closed_form_of_ridge(given):
    problem, closed = ridge()
    options = parse(given)
    made = make_products(options, problem.inner, problem.params, problem.hyper)
    implicit, _ = implicit_gradient(options, products=made, v=outer_gradient(problem))
    # f does not depend on the penalties directly, so df/da = -J x
    allowed = 1e-8 if "method" in given else 1e-2
    assert relative_error(scale(-1.0, implicit), [closed]) <= allowed


def test_the_weight_scales_the_implicit_term():
    problem = attention()
    v, inner = outer_gradient(problem), inner_of(problem)
    found = []
    for weight in (1.0, 5.0):
        options = parse({"method": "one_step", "weight": weight})
        made = make_products(options, problem.inner, problem.params, problem.hyper)
        found.append(implicit_gradient(options, products=made, v=v, inner=inner)[0])
    assert relative_error(found[1], scale(5.0, found[0])) <= 1e-14


def test_unrolled_is_not_asked_for_an_implicit_system():
    problem = attention()
    made = make_products(parse("unrolled"), problem.inner, problem.params, problem.hyper)
    with pytest.raises(InputError, match="unrolled_gradient"):
        implicit_gradient(parse("unrolled"), products=made, v=problem.params)


def test_needs_and_places_of_the_presets():
    table = {
        name: (m.evaluated_at, m.needs_double_backward, m.works_on_quantised)
        for name, m in METHODS.items()
    }
    assert table["darts"] == table["sama"] == ("before", False, True)
    assert table["one_step"] == table["unrolled"] == ("before", True, False)
    assert table["cg"] == table["neumann"] == table["nystrom"] == ("after", True, False)
    assert table["first_order"][1:] == (False, True)


@pytest.mark.parametrize(
    "given",
    [
        *METHODS,
        {"method": "cg", "iterations": 3, "weight": 5.0},
        {"method": "darts", "scale": 1, "scheme": "forward", "radius": 1e-3},
        {"method": "neumann", "step": 0.1},
        {"solver": "nystrom", "products": "finite_difference", "columns": 2},
    ],
)
def test_options_survive_a_yaml_file(given):
    options = parse(given)
    written = yaml.safe_dump(options.model_dump())
    assert parse(yaml.safe_load(written)) == options
    assert HypergradientOptions.model_validate_json(options.model_dump_json()) == options
    assert set(options.model_dump()) - {"method", "solver", "products"} == set(
        options.record.option_names
    )


def test_a_solver_and_products_that_make_a_preset_are_that_preset():
    assert parse({"solver": "identity", "products": "finite_difference"}) == parse("darts")
    assert parse({"solver": "zero"}) == parse("first_order")
    assert parse({"solver": "conjugate_gradient", "iterations": 4}).method == "cg"
    made = parse({"solver": "adam", "products": "autograd"})
    assert made.method == "adam+autograd" and made.record.needs_double_backward


class Section(BaseModel):
    """A config section that holds a method, as a run's configuration does."""

    hypergradient: HypergradientOptions
    steps: int


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("drats", "did you mean 'darts'"),
        ({"method": "conjugate"}, "allowed: .*cg"),
        ({"solver": "conjugate_gradients"}, "did you mean 'conjugate_gradient'"),
        ({"solver": "neumann", "products": "autodiff"}, "did you mean 'autograd'"),
        ({"method": "cg", "solver": "neumann"}, "instead of it a solver"),
        ({}, "neither method nor solver"),
        (7, "unknown hypergradient method '7'"),
        (None, "unknown hypergradient method 'None'"),
        ({"method": ["darts"]}, "unknown hypergradient method"),
        ({"method": "darts", "iterations": 5}, "belongs to neumann, cg, not to darts"),
        ({"method": "darts", "iterations": 5}, "darts takes: scale, scheme, radius, weight"),
        ({"method": "first_order", "scheme": "central"}, "belongs to darts, sama"),
        ({"method": "cg", "iteration": 5}, "did you mean 'iterations'"),
        ({"method": "cg", "damping": -1}, "greater than or equal to 0"),
        ({"method": "darts", "radius": 0}, "greater than 0"),
        ({"method": "cg", "weight": -1}, "greater than or equal to 0"),
    ],
)
def test_mistakes_are_named_with_what_is_allowed(given, said):
    with pytest.raises(ValidationError, match=said):
        parse(given)


def test_all_mistakes_are_reported_at_once_with_their_places():
    wrong = {"method": "cg", "iterations": 0, "damping": -1, "columns": 3}
    with pytest.raises(ValidationError) as caught:
        Section.model_validate({"hypergradient": wrong, "steps": "many"})
    places = {error["loc"] for error in caught.value.errors()}
    assert places == {
        ("hypergradient", "iterations"),
        ("hypergradient", "damping"),
        ("hypergradient", "columns"),
        ("steps",),
    }


def test_a_section_takes_names_mappings_and_options_and_writes_them_back():
    made = Section(hypergradient=parse("sama"), steps=1)
    assert Section.model_validate(made.model_dump()) == made
    assert Section.model_validate({"hypergradient": "sama", "steps": 1}) == made


def test_an_unknown_preset_answers_with_the_nearest():
    with pytest.raises(InputError, match="did you mean 'neumann'"):
        method("neuman")
