"""A step of several passes is the step of one pass over all their rows, and holds less memory."""

import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor

from autolora_meta.bilevel.engine import SearchEngine
from autolora_meta.finetuning.accumulated import PartLoaderStream
from autolora_meta.finetuning.batch_order import LoaderStream
from autolora_meta.finetuning.checkpointing import checkpointed
from autolora_meta.foundation.parts import Parts, in_parts, rows
from autolora_meta.hypergradients.choice import parse
from autolora_meta.hypergradients.methods import METHODS
from tests.bilevel.program import batches, loss, program
from tests.bilevel.test_hypergradient_in_the_search import (
    options,
    relative_error,
    step_of,
)

DAMPED = {"neumann": {"damping": 100.0}, "cg": {"damping": 100.0}, "nystrom": {"rho": 100.0}}


def cut(engine: SearchEngine, *sizes: int, rows_of_each: int = 4) -> None:
    """Give both problems their batches in parts of these sizes."""
    for number, problem in enumerate((engine.inner_problem, engine.outer_problem), 1):
        assert problem is not None
        parts = [
            dict(zip(batch, each, strict=True))
            for batch in batches(number, rows=rows_of_each)
            for each in zip(*(values.split(list(sizes)) for values in batch.values()), strict=True)
        ]
        problem.batches = PartLoaderStream(LoaderStream(parts), len(sizes), rows)


def numbers(engine: SearchEngine) -> Tensor:
    return torch.cat([p.detach().flatten() for q in engine.problems for p in q.parameters()])


@pytest.mark.parametrize("name", METHODS)
def test_parts_give_the_search_of_the_whole_batch(name: str) -> None:
    chosen = {"method": name} | DAMPED.get(name, {})
    found, cost = [], []
    for sizes in ((), (1, 3)):
        with program(hypergradient=chosen, outer_steps=1, inner_steps=2, warmup_steps=1) as (*_, e):
            if sizes:
                cut(e, *sizes)
            e.run()
            found.append(numbers(e))
            cost.append(e.cost)
    assert relative_error(found[1], found[0]) < 1e-11
    method = parse(chosen)
    more = [method.cost(centre_known=True, in_parts=parts) for parts in (False, True)]
    if name != "cg":  # which may stop early
        assert cost[1].forwards - cost[0].forwards == more[1].forwards - more[0].forwards


@pytest.mark.parametrize(("method", "bound"), [("one_step", 1e-9), ("darts", 1e-6)])
def test_every_pass_of_a_hypergradient_sees_the_masks_of_the_step(
    method: str, bound: float
) -> None:
    """Against the derivative through the step, of a loss with one graph for all parts."""
    of_all = in_parts(loss)
    with program(0.3, **options(method)) as (model, gates, engine):
        cut(engine, 2, 1, 1)
        inner, outer = engine.inner_problem, engine.outer_problem
        assert outer is not None
        whole = [problem.batches.peek() for problem in (inner, outer)]
        assert all(isinstance(batch, Parts) for batch in whole)
        train, validation = whole
        with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
            state = torch.get_rng_state()
            w = [p for p in model.parameters() if p.requires_grad]
            g = torch.autograd.grad(of_all(model, train), w, create_graph=True)
            drawn = torch.get_rng_state()
            f, f_a, *f_w = outer_at(model, gates.logits, w, g, of_all, validation)
            x = [0.1 * part for part in f_w]
            torch.set_rng_state(state)
        mixed = torch.autograd.grad(g, [gates.logits], grad_outputs=x)[0]
        assert not torch.equal(drawn, state) and f > 0
        assert relative_error(step_of(gates, engine), f_a - mixed) < bound


def outer_at(
    model: Any, logits: Tensor, w: list[Any], g: Any, of_all: Any, batch: Any
) -> list[Tensor]:
    """Return f, f_a and f_w at the weights after one step of SGD; the weights come back."""
    kept = [p.detach().clone() for p in w]
    for p, d in zip(w, g, strict=True):
        p.data.sub_(0.1 * d.detach())
    f = of_all(model, batch)
    found = torch.autograd.grad(f, [logits, *w])
    for p, k in zip(w, kept, strict=True):
        p.data.copy_(k)
    return [f.detach(), *found]


class Held:
    """Counts the bytes that graphs keep for their way back."""

    def __init__(self) -> None:
        self.now = self.most = 0

    def keep(self, tensor: Tensor) -> Any:
        size = tensor.numel() * tensor.element_size()
        self.now += size
        self.most = max(self.most, self.now)
        box = [tensor.detach()]  # or an output would hold the graph that holds it
        holder = _Box(box)
        weakref.finalize(holder, self._free, size)
        return holder

    def _free(self, size: int) -> None:
        self.now -= size


class _Box:
    def __init__(self, held: list[Tensor]) -> None:
        self.held = held


@contextmanager
def held() -> Iterator[Held]:
    count = Held()
    with torch.autograd.graph.saved_tensors_hooks(count.keep, lambda box: box.held[0]):
        yield count


@pytest.mark.parametrize("method", ["darts", "unrolled"])
def test_memory_holds_the_graph_of_one_part(method: str) -> None:
    most = []
    for sizes in ((4,), (1, 1, 1, 1), (1,)):
        with program(hypergradient=method, outer_steps=1, warmup_steps=1) as (*_, engine):
            cut(engine, *sizes, rows_of_each=sum(sizes))
            with held() as count:
                engine.run()
            most.append(count.most)
    whole, parts, one_row = most
    assert parts < 1.05 * one_row < 0.7 * whole  # and the sums of gradients


@pytest.mark.parametrize("name", ["darts", "cg", "unrolled"])
def test_checkpointing_gives_the_same_search_to_the_bit(name: str) -> None:
    chosen = {"method": name} | DAMPED.get(name, {})
    found, most = [], []
    for on in (False, True):
        with program(0.3, hypergradient=chosen, outer_steps=1, warmup_steps=1) as (model, _, e):
            with checkpointed(model, on), held() as count:
                e.run()
            found.append(numbers(e))
            most.append(count.most)
            assert not any(getattr(m, "gradient_checkpointing", False) for m in model.modules())
    assert torch.equal(*found)
    if not METHODS[name].needs_double_backward:
        assert most[1] < most[0]
