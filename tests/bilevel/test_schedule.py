"""What a search step does to weights, batches and random numbers, and what it costs."""

import pytest
import torch

from autolora_meta.bilevel.engine import SearchEngine
from autolora_meta.errors import InputError
from autolora_meta.foundation.cost import Cost
from autolora_meta.foundation.randomness import replay
from autolora_meta.hypergradients.choice import parse
from autolora_meta.hypergradients.methods import METHODS
from tests.bilevel.program import batches, loss, program

ADAMW = {"name": "adamw", "learning_rate": 1e-2}
FROZEN_OUTER = {"name": "sgd", "learning_rate": 1e-30}  # gates that stand still


def weights(engine: SearchEngine) -> list[torch.Tensor]:
    return [p.detach().clone() for p in engine.inner_problem.trainable_parameters()]


def same(x: list[torch.Tensor], y: list[torch.Tensor]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(x, y, strict=True))


@pytest.mark.parametrize("inner_steps", [1, 3])
@pytest.mark.parametrize("method", ["darts", "cg", "unrolled"])
def test_look_ahead_with_gates_that_stand_still_is_plain_training(method, inner_steps):
    """Weights, optimizer and dropout masks come back exactly: only then do the bytes agree."""
    options = {"inner": ADAMW, "outer": FROZEN_OUTER, "warmup_steps": 2, "outer_steps": 4}
    options |= {"inner_steps": inner_steps, "hypergradient": method}
    ends = []
    for schedule in ("look_ahead", "alternating"):
        with program(0.3, schedule=schedule, **options) as (_, gates, engine):
            with torch.no_grad():
                gates.logits.zero_()
            engine.run()
            ends.append(weights(engine))
    assert same(*ends)


def test_look_ahead_repeats_the_step_with_the_new_gates():
    with program(
        0.3, inner={"name": "sgd", "learning_rate": 0.1}, outer_steps=1, warmup_steps=0
    ) as (model, _, engine):
        start = weights(engine)
        engine.run()
        inner = engine.inner_problem
        with inner.at(start), replay(inner.loop.tape[-1].random_state):
            value = loss(model, batches(1)[0])
            gradients = torch.autograd.grad(value, inner.trainable_parameters())
        expected = [w - 0.1 * g for w, g in zip(start, gradients, strict=True)]
        for a, b in zip(weights(engine), expected, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-14)


def test_gates_rest_during_the_warm_up_and_the_factors_do_not():
    with program(warmup_steps=3, outer_steps=2, inner_steps=2) as (_, gates, engine):
        start, logits = weights(engine), gates.logits.detach().clone()
        for step in range(1, 6):
            engine.global_step += 1
            engine.train_step()
            moved = not torch.equal(gates.logits, logits)
            assert moved == (step == 5)
        assert not same(start, weights(engine))


@pytest.mark.parametrize("schedule", ["look_ahead", "alternating"])
@pytest.mark.parametrize("name", METHODS)
def test_every_method_costs_what_the_table_says(name, schedule):
    # Damping makes H positive here, so that the solvers take every iteration that they may.
    own = {"neumann": {"damping": 100.0}, "cg": {"damping": 100.0, "tolerance": 0.0}}
    method = parse({"method": name} | own.get(name, {}))
    outer_steps, inner_steps, warmup = 2, 2, 1
    with program(
        hypergradient=method.model_dump(),
        schedule=schedule,
        outer_steps=outer_steps,
        inner_steps=inner_steps,
        warmup_steps=warmup,
    ) as (_, __, engine):
        engine.run()
        steps = warmup + outer_steps * inner_steps * (2 if schedule == "look_ahead" else 1)
        plain = Cost(steps + outer_steps, steps + outer_steps)
        implicit = method.cost(centre_known=True)
        assert engine.cost == plain + implicit + implicit


def test_a_forward_difference_starts_from_the_inner_pass():
    method = {"method": "darts", "scheme": "forward"}
    with program(hypergradient=method, schedule="alternating", outer_steps=1, warmup_steps=0) as (
        *_,
        engine,
    ):
        engine.run()
        assert engine.cost == Cost(3, 3)  # inner, outer, one side of the difference


def test_frozen_gates_are_plain_training():
    with program(selection="frozen", outer_steps=3, warmup_steps=2) as (_, gates, engine):
        logits = gates.logits.detach().clone()
        engine.run()
        assert engine.cost == Cost(5, 5)
        assert torch.equal(gates.logits, logits)
        assert [row["step"] for row in engine.course.rows] == [1, 2, 3, 4, 5]


@pytest.mark.parametrize("at", [2, 3, 5])
def test_a_search_goes_on_from_its_state_to_the_same_bytes(at):
    options = {"inner": ADAMW, "outer_steps": 4, "warmup_steps": 2}
    with program(0.3, **options) as (_, gates, engine):
        for _ in range(at):
            engine.global_step += 1
            engine.train_step()
        state = engine.state_dict()
        engine.run()
        whole = [*weights(engine), gates.logits.detach().clone()]
    with program(0.3, **options) as (_, gates, engine):
        torch.manual_seed(99)  # as in another process
        engine.load_state_dict(state)
        engine.run()
        assert same(whole, [*weights(engine), gates.logits.detach().clone()])


def test_a_search_whose_loss_is_no_number_stops_and_says_what_to_change():
    with (
        program(inner={"name": "sgd", "learning_rate": 1e30}, outer_steps=12) as (*_, engine),
        pytest.raises(InputError, match=r"Lower search\.inner\.learning_rate"),
    ):
        engine.run()
