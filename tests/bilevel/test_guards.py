"""What a search refuses before it starts, and what stops it: in words that say what to change."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from autolora_meta.problems.autolora import autolora
from peft import LoraConfig, get_peft_model
from torch import Tensor, nn

from autolora_meta.bilevel.base import coarse_dtype, quantisation
from autolora_meta.bilevel.engine import SearchEngine
from autolora_meta.bilevel.gating import Gates, gated
from autolora_meta.bilevel.options import SearchOptions
from autolora_meta.errors import InputError
from autolora_meta.finetuning.batch_order import LoaderStream
from autolora_meta.foundation.cost import Cost
from tests.bilevel.program import program

SECOND_ORDER = ["one_step", "cg", "neumann", "nystrom", "unrolled"]


class Once(torch.autograd.Function):
    """tanh whose backward has no derivative, and says so."""

    @staticmethod
    def forward(ctx, x):  # type: ignore[override]
        ctx.save_for_backward(y := x.tanh())
        return y

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, grad):  # type: ignore[override]
        (y,) = ctx.saved_tensors
        return grad * (1 - y**2)


class Silent(torch.autograd.Function):
    """The same without a word: its backward hands out numbers that hang on nothing."""

    @staticmethod
    def forward(ctx, x):  # type: ignore[override]
        ctx.save_for_backward(y := x.tanh())
        return y

    @staticmethod
    def backward(ctx, grad):  # type: ignore[override]
        (y,) = ctx.saved_tensors
        return (grad * (1 - y**2)).detach()


class Kernel(nn.Module):
    """A two-layer network with an activation, and batch norm, of our choice."""

    def __init__(self, activation, *, norm: bool = False) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.first, self.second = nn.Linear(6, 8), nn.Linear(8, 3)
        self.norm = nn.BatchNorm1d(8) if norm else nn.Identity()
        self.activation = activation

    def forward(self, x: Tensor) -> Tensor:
        return self.second(self.activation(self.norm(self.first(x))))


def squares(model: nn.Module, batch: Tensor) -> Tensor:
    return model(batch).pow(2).mean()


@contextmanager
def search_over(model: nn.Module, loss=squares, **options) -> Iterator[SearchEngine]:
    """A search of two outer steps over random batches, with B away from 0, ready to run."""
    selection = options.pop("selection", "learned")
    torch.manual_seed(0)
    wrapped = get_peft_model(model, LoraConfig(r=2, target_modules=["first", "second"]))  # type: ignore[arg-type]
    wrapped.train()
    with torch.no_grad():
        for name, parameter in wrapped.named_parameters():
            if "lora_" in name:
                parameter.normal_()
    chosen = SearchOptions.model_validate({"warmup_steps": 1, "outer_steps": 2} | options)
    gates = Gates(["first", "second"], 2, chosen.gates)
    train, validation = (LoaderStream([torch.randn(8, 6) for _ in range(3)]) for _ in range(2))
    with gated(wrapped, gates):
        yield autolora(wrapped, gates, train, validation, loss, chosen, selection=selection)


@pytest.mark.parametrize("activation", [Once.apply, Silent.apply])
@pytest.mark.parametrize("method", ["one_step", "cg"])
def test_a_kernel_without_a_second_derivative_is_refused_before_any_step(activation, method):
    with search_over(Kernel(activation), hypergradient=method) as engine:
        with pytest.raises(InputError, match=r"double backward.*first_order, darts, sama"):
            engine.run()
        assert engine.global_step == 0 and not engine.course.rows


@pytest.mark.parametrize("activation", [Once.apply, Silent.apply])
@pytest.mark.parametrize(("method", "replays"), [("darts", 2), ("sama", 2), ("first_order", 0)])
def test_methods_that_take_gradients_only_run_there(activation, method, replays):
    with search_over(Kernel(activation), hypergradient=method) as engine:
        engine.run()
        assert len(engine.course.rows) == 2
        assert engine.diagnostics_cost == Cost(forwards=replays)


@pytest.mark.parametrize("method", SECOND_ORDER)
def test_quantised_bases_are_refused_for_second_order_methods(method):
    model = Kernel(torch.tanh)
    model.__dict__["is_loaded_in_4bit"] = True  # as transformers marks it
    with (
        search_over(model, hypergradient=method) as engine,
        pytest.raises(InputError, match=r"4 bits.*darts.*finite_difference"),
    ):
        engine.run()


def test_quantised_parameters_are_seen_without_a_mark():
    class Int8Params(nn.Parameter):
        """As bitsandbytes calls its own."""

    model = Kernel(torch.tanh)
    assert quantisation(model) is None
    model.first.weight = Int8Params(torch.zeros(8, 6, dtype=torch.int8), requires_grad=False)
    assert quantisation(model) == "8 bits"
    assert coarse_dtype(model) == torch.bfloat16


def test_the_check_moves_neither_batches_nor_masks():
    """A second-order search is the same bytes whether it was checked or not."""
    ends = []
    for checked in (True, False):
        with program(0.3, hypergradient="one_step", outer_steps=2, warmup_steps=1) as (_, g, e):
            if checked:
                e.run()
            else:
                for _ in range(e.train_iters):
                    e.global_step += 1
                    e.train_step()
            ends.append(g.logits.detach().clone())
    assert torch.equal(*ends)


@pytest.mark.parametrize("method", ["darts", "cg", "unrolled"])
def test_hypergradient_passes_leave_batch_norm_alone(method):
    """Only training batches move the running statistics: as if the gates were frozen."""
    ends = []
    for options in ({"hypergradient": method}, {"selection": "frozen"}):
        model = Kernel(torch.tanh, norm=True)
        standing = {"outer": {"name": "sgd", "learning_rate": 1e-30}}
        with search_over(model, schedule="alternating", **options, **standing) as engine:
            engine.run()
            ends.append([b.clone() for b in engine.inner_problem.module.buffers()])
    assert len(ends[0]) == 3
    assert all(torch.equal(a, b) for a, b in zip(*ends, strict=True))


def test_a_hypergradient_that_is_no_number_stops_before_the_gates_move():
    with program(hypergradient="one_step", outer_steps=3, warmup_steps=2) as (_, gates, engine):
        method: Any = engine.inner_problem.hypergradient
        steep = method.solver.model_copy(update={"scale": 1e308})  # more than may be asked for
        engine.inner_problem.hypergradient = method.model_copy(update={"solver": steep})
        logits = gates.logits.detach().clone()
        with pytest.raises(InputError, match=r"implicit part.*inner step 3.*one_step"):
            engine.run()
        assert torch.equal(gates.logits, logits)
        assert len(engine.course.trajectory) == 1 and engine.course.rows == []


def test_a_base_in_bf16_gets_a_longer_step_and_a_measured_cosine():
    rows = {}
    for dtype in (torch.float32, torch.bfloat16):
        model = Kernel(torch.tanh).to(dtype)

        def loss(model, batch, dtype=dtype):
            return model(batch.to(dtype)).float().pow(2).mean()

        with search_over(model, hypergradient="darts", loss=loss) as engine:
            assert engine.inner_problem.precision == (None if dtype == torch.float32 else dtype)
            engine.run()
            rows[dtype] = engine.course.rows
    assert "difference_cosine" not in rows[torch.float32][0]
    assert rows[torch.bfloat16][0]["difference_cosine"] > 0.9
    assert "difference_cosine" not in rows[torch.bfloat16][1]


def test_kinks_are_told_and_not_refused(caplog):
    with (
        caplog.at_level(logging.WARNING, "autolora_meta"),
        search_over(Kernel(torch.relu), hypergradient="one_step") as engine,
    ):
        engine.run()
    assert len(engine.course.rows) == 2
