"""The inner optimizer's two groups: LoRA factors, which may decay, and a head, which does not."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from autolora_meta.problems.autolora import autolora
from torch import Tensor, nn

from autolora_meta.bilevel.engine import SearchEngine
from autolora_meta.bilevel.gating import Gates, gated
from autolora_meta.bilevel.options import InnerOptimizerOptions, SearchOptions
from autolora_meta.finetuning.batch_order import LoaderStream
from autolora_meta.finetuning.lora import LoraOptions, wrap_for_search

WIDTH = 4
ADAMW = {"name": "adamw", "learning_rate": 1e-2}  # with the decay that null stands for
LAYERS = ["first", "second"]


class HeadFirst(nn.Module):
    """A head that stands before the layers, so that the groups change the order of the parameters.

    With k = width every trained tensor has one shape: a wrong order cannot be told by shapes.
    """

    def __init__(self) -> None:
        super().__init__()
        self.head, self.first, self.second = (
            nn.Linear(WIDTH, WIDTH, bias=False, dtype=torch.float64) for _ in range(3)
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.tanh(self.second(torch.tanh(self.first(x)))))


def loss(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
    return (model(batch[0]) - batch[1]).square().mean()


def batches(seed: int) -> list[tuple[Tensor, Tensor]]:
    draw = torch.Generator().manual_seed(seed)
    rows = torch.randn(4, 2, 8, WIDTH, generator=draw, dtype=torch.float64)
    return [(x, y) for x, y in rows]


def wrapped_model() -> nn.Module:
    torch.manual_seed(0)
    model = wrap_for_search(HeadFirst(), LAYERS, LoraOptions(k=WIDTH), seed=0, head=("head",))
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.copy_(torch.randn_like(parameter) / 2)
    return model.double()


@contextmanager
def program(**options: Any) -> Iterator[tuple[Gates, SearchEngine]]:
    model = wrapped_model()
    chosen = SearchOptions.model_validate(options)
    gates = Gates(LAYERS, WIDTH, chosen.gates).double()
    with gated(model, gates):
        streams = LoaderStream(batches(1)), LoaderStream(batches(2))
        yield gates, autolora(model, gates, *streams, loss, chosen)


def named_state(engine: SearchEngine) -> dict[str, Tensor]:
    inner = engine.inner_problem
    names = [n for n, p in inner.module.named_parameters() if p.requires_grad]
    return dict(zip(names, inner.state_dict()["weights"], strict=True))


def test_the_groups_do_change_the_order() -> None:
    model = wrapped_model()
    optimizer = InnerOptimizerOptions().build_for(model)
    trained = [p for p in model.parameters() if p.requires_grad]
    grouped = [p for group in optimizer.param_groups for p in group["params"]]
    assert {id(p) for p in trained} == {id(p) for p in grouped} and len(grouped) == len(trained)
    assert [id(p) for p in trained] != [id(p) for p in grouped]
    assert len({p.shape for p in trained}) == 1


@pytest.mark.parametrize(
    ("options", "shrunk"),
    [
        ({"name": "adamw"}, 1 - 1e-2 * 5),  # w (1 - lr decay)
        ({"name": "adamw", "weight_decay": 0}, 1.0),
        ({"name": "adamw", "weight_decay": 0.5}, 1 - 1e-2 * 0.5),
        ({"name": "adam"}, 1.0),
        ({"name": "sgd"}, 1.0),
        ({"name": "sgd", "weight_decay": 0.5}, 1 - 1e-2 * 0.5),
    ],
)
def test_decay_is_on_the_factors_alone_and_null_is_5_for_adamw(
    options: dict[str, Any], shrunk: float
) -> None:
    """A step whose gradient is zero does nothing but decay."""
    model = wrapped_model()
    asked = InnerOptimizerOptions.model_validate({"learning_rate": 1e-2, **options})
    optimizer = asked.build_for(model)
    before = {n: p.detach().clone() for n, p in model.named_parameters()}
    for p in model.parameters():
        p.grad = torch.zeros_like(p) if p.requires_grad else None
    optimizer.step()
    for name, parameter in model.named_parameters():
        factor = shrunk if "lora_" in name else 1.0
        torch.testing.assert_close(parameter.detach(), factor * before[name], msg=name)


@pytest.mark.parametrize("method", ["unrolled", "sama"])
def test_the_hypergradient_is_the_derivative_of_the_step_that_was_taken(method: str) -> None:
    """Against differences of real steps of AdamW, after a warm-up that has filled its moments."""
    options = {
        "hypergradient": {"method": method, "weight": 1},
        "schedule": "alternating",
        "inner": ADAMW,
        "outer": {"name": "sgd", "learning_rate": 1.0},
        "warmup_steps": 3,
        "outer_steps": 1,
    }
    with program(**options) as (gates, engine):
        for _ in range(3):
            engine.global_step += 1
            engine.train_step()
        state = engine.state_dict()
        start = gates.logits.detach().clone()
        engine.run()
        found = start - gates.logits.detach()
        expected, direct = torch.zeros_like(start), torch.zeros_like(start)
        radius = 1e-4
        for i in range(start.numel()):
            for sign in (1, -1):
                shift = torch.zeros_like(start)
                shift.view(-1)[i] = sign * radius
                engine.load_state_dict(state)
                expected.view(-1)[i] += sign * _ahead(gates, engine, start + shift, start + shift)
                engine.load_state_dict(state)
                direct.view(-1)[i] += sign * _ahead(gates, engine, start, start + shift)
    expected, direct = expected / (2 * radius), direct / (2 * radius)
    assert (found - expected).norm() < 1e-5 * expected.norm()
    assert (direct - expected).norm() > 1e-2 * expected.norm()  # the step does depend on the gates


def _ahead(gates: Gates, engine: SearchEngine, stepped: Tensor, read: Tensor) -> float:
    """Validation loss at the gates `read`, after an inner step at the gates `stepped`."""
    inner = engine.inner_problem
    with torch.no_grad():
        gates.logits.copy_(stepped)
    inner.one_step_descent()
    with torch.no_grad():
        gates.logits.copy_(read)
        return float(loss(inner.module, batches(2)[0]))


@pytest.mark.parametrize("method", ["darts", "sama", "unrolled"])
def test_a_search_with_a_head_goes_on_from_its_state_to_the_same_bytes(method: str) -> None:
    options = {"hypergradient": method, "inner": ADAMW, "outer_steps": 4, "warmup_steps": 2}
    with program(**options) as (gates, engine):
        for _ in range(4):
            engine.global_step += 1
            engine.train_step()
        state = engine.state_dict()
        engine.run()
        whole = named_state(engine) | {"logits": gates.logits.detach().clone()}
    with program(**options) as (gates, engine):
        for _ in range(2):  # a state is not used up by going on from it
            engine.load_state_dict(state)
            engine.run()
            again = named_state(engine) | {"logits": gates.logits.detach().clone()}
            assert all(torch.equal(whole[name], again[name]) for name in whole)


def test_the_look_ahead_puts_every_moment_back_beside_its_own_tensor() -> None:
    """With gates that stand still the look-ahead is plain training, bit for bit."""
    still = {"name": "sgd", "learning_rate": 1e-30}
    ends = []
    for schedule in ("look_ahead", "alternating"):
        options = {"schedule": schedule, "inner": ADAMW, "outer": still, "warmup_steps": 2}
        with program(**options, outer_steps=3) as (_, engine):
            engine.run()
            ends.append(named_state(engine))
    assert all(torch.equal(ends[0][name], ends[1][name]) for name in ends[0])
