"""Weights of rows: each method's step against derivatives taken in one piece by autograd."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from autolora_meta.problems.reweighting import Validation, reweighting
from peft import PeftModel
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional
from torch.nn.attention import SDPBackend, sdpa_kernel

from autolora_meta.bilevel.engine import SearchEngine
from autolora_meta.bilevel.formulation import formulation
from autolora_meta.bilevel.options import SearchOptions
from autolora_meta.bilevel.row_weights import RowWeights
from autolora_meta.errors import InputError
from autolora_meta.finetuning.batch_order import LoaderStream
from autolora_meta.finetuning.numbered_rows import NUMBER
from autolora_meta.foundation.randomness import RandomState, replay
from autolora_meta.hypergradients.exact import dense_hessian, dense_mixed
from autolora_meta.hypergradients.vectors import flatten, parts_of
from autolora_meta.verification.formulations import verify_formulation
from tests.bilevel.program import batches
from tests.bilevel.weighted_program import numbered_batches, weighted_program

ETA = 0.1
STILL = {"schedule": "alternating", "outer_steps": 1, "warmup_steps": 0}
SGD = {
    "inner": {"name": "sgd", "learning_rate": ETA},
    "outer": {"name": "sgd", "learning_rate": 1.0},  # logits move by minus the hypergradient
    **STILL,
}


def row_losses(model: PeftModel, named: dict[str, Tensor]) -> Tensor:
    """The loss of each row of the first batch, by a formula of its own. (4,)"""
    batch = numbered_batches(1)[0]
    with replay(RandomState.snapshot()), sdpa_kernel(SDPBackend.MATH):
        logits = functional_call(model, named, kwargs={"input_ids": batch["input_ids"]}).logits
    return functional.cross_entropy(logits, batch["labels"], reduction="none")


def named_weights(model: PeftModel) -> dict[str, Tensor]:
    return {n: p for n, p in model.named_parameters() if p.requires_grad}


def step_of(method: Any, **options: Any) -> tuple[Tensor, Tensor, Tensor]:
    """Return the step, -eta <v, grad l_i> of each row by the formula, and normalised weights."""
    numbers = numbered_batches(1)[0][NUMBER]
    with weighted_program(hypergradient=method, **{**SGD, **options}) as (model, weights, engine):
        before = weights.logits.detach().clone()
        named, w = named_weights(model), torch.sigmoid(before[numbers])
        shares = w / w.sum()
        losses = row_losses(model, named)
        of_rows = [
            torch.autograd.grad(one, list(named.values()), retain_graph=True) for one in losses
        ]
        ahead = {
            name: p.detach() - ETA * sum(s * g[i] for s, g in zip(shares, of_rows, strict=True))
            for i, (name, p) in enumerate(named.items())
        }
        ahead = {name: p.detach().requires_grad_() for name, p in ahead.items()}
        random_state = RandomState.snapshot()
        engine.run()
        with replay(random_state):
            f = functional_call(model, ahead, kwargs=dict(batches(2)[0])).loss
        v = flatten(torch.autograd.grad(f, list(ahead.values())))
        exact = -ETA * torch.stack([flatten(list(g)) @ v for g in of_rows])
        taken = before - weights.logits.detach()
    return taken, exact, w


@pytest.mark.parametrize(
    ("method", "bound"),
    [
        ("one_step", 1e-9),
        ("unrolled", 1e-9),
        ("darts", 1e-6),
        ({"method": "darts", "scheme": "forward"}, 1e-4),
    ],
)
def test_a_row_gains_weight_where_its_gradient_lowers_the_validation_loss(
    method: Any, bound: float
) -> None:
    taken, by_share, w = step_of(method)
    numbers = numbered_batches(1)[0][NUMBER]
    # By the chain rule through w_i = sigmoid(a_i) and s_i = w_i / sum w.
    shares = w / w.sum()
    by_weight = (by_share - (shares * by_share).sum()) / w.sum()
    exact = torch.zeros_like(taken)
    exact[numbers] = by_weight * w * (1 - w)
    assert float((taken - exact).norm() / exact.norm()) < bound
    others = torch.ones(len(taken), dtype=torch.bool)
    others[numbers] = False
    assert float(exact.norm()) > 1e-6 and (taken[others] == 0).all()


def test_implicit_methods_solve_at_the_weights_after_the_step() -> None:
    """Against dense H and J at w', at the same damping."""
    method = {"method": "cg", "iterations": 200, "tolerance": 1e-12, "damping": 30.0}
    with weighted_program(hypergradient=method, **SGD) as (_, weights, engine):
        start = weights.logits.detach().clone()
        inner = engine.inner_problem
        engine.run()
        taken = start - weights.logits.detach()
        with torch.no_grad():
            weights.logits.copy_(start)  # w is now w', a is again what it was
        w = inner.trainable_parameters()
        f = inner.loss_function(inner.module, batches(2)[0])  # type: ignore[attr-defined]
        f_w = torch.autograd.grad(f, w)

        def replayed() -> torch.Tensor:
            return torch.stack([*parts_of(inner.replayed_loss())]).sum()

        with sdpa_kernel(SDPBackend.MATH):
            hessian = dense_hessian(replayed, w)
            mixed = dense_mixed(replayed, w, [weights.logits])
        damped = hessian + 30.0 * torch.eye(len(hessian), dtype=hessian.dtype)
        exact = -mixed @ torch.linalg.solve(damped, flatten(f_w))
        assert float((taken - exact).norm() / exact.norm()) < 1e-6 and float(exact.norm()) > 0


def test_the_formulation_does_what_every_formulation_has_to() -> None:
    @contextmanager
    def opened(options: SearchOptions) -> Iterator[SearchEngine]:
        with weighted_program(0.3, **options.model_dump()) as (_, _, engine):
            yield engine

    report = verify_formulation(opened)
    assert report.faults == [], report


def test_the_check_of_formulations_sees_a_loss_that_another_step_minimises(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A validation loss that forgets the path to the fine-tuned model has another gradient."""
    plain = Validation.training_step

    def wrong(self: Validation, batch: Any) -> Tensor:
        return plain(self, batch) + self.module().square().sum().detach()

    monkeypatch.setattr(Validation, "training_step", wrong)

    @contextmanager
    def opened(options: SearchOptions) -> Iterator[SearchEngine]:
        with weighted_program(**options.model_dump()) as (_, _, engine):
            yield engine

    assert any("hypergradient of one_step" in fault for fault in verify_formulation(opened).faults)


def test_frozen_weights_stay_and_random_ones_move() -> None:
    for selection, moves in (("frozen", False), ("random", True)):
        with weighted_program(selection=selection, **SGD) as (_, weights, engine):
            before = weights.logits.detach().clone()
            engine.run()
            assert torch.equal(before, weights.logits) != moves


def noisy_rows(count: int, wrong: int, seed: int) -> dict[str, Tensor]:
    """Two clouds of points; the classes of the first `wrong` rows are the other ones."""
    draw = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, 2, (count,), generator=draw)
    x = torch.randn(count, 4, generator=draw) + 1.5 * (2.0 * labels[:, None] - 1)
    labels[:wrong] = 1 - labels[:wrong]
    return {"x": x, "labels": labels}


@pytest.mark.parametrize("method", ["darts", "one_step", "sama"])
def test_wrong_labels_lose_weight(method: str) -> None:
    def loss(model: nn.Module, batch: Any) -> Tensor:
        return functional.cross_entropy(model(batch["x"]), batch["labels"])

    torch.manual_seed(0)
    rows = noisy_rows(60, 24, seed=1) | {NUMBER: torch.arange(60)}
    order = torch.randperm(60).split(20)
    train = [{key: column[part] for key, column in rows.items()} for part in order]
    weights = RowWeights(60)
    options = SearchOptions.model_validate(
        {
            "hypergradient": method,  # balanced, which counts as 1
            "inner": {"learning_rate": 1e-2},
            "outer": {"name": "scaled_sgd", "learning_rate": 1.0},
            "outer_steps": 15,
            "warmup_steps": 2,
        }
    )
    held = [noisy_rows(20, 0, seed=2)]
    model = nn.Linear(4, 2)
    reweighting(model, weights, LoaderStream(train), LoaderStream(held), loss, options).run()
    wrong, right = weights().detach().split([24, 36])
    assert float((wrong[:, None] < right).float().mean()) > 0.95  # area under the curve
    assert float(right.mean()) - float(wrong.mean()) > 0.3


@pytest.mark.parametrize("method", ["first_order", {"method": "darts", "weight": 0}])
def test_a_method_without_an_implicit_part_is_refused(method: Any) -> None:
    options = SearchOptions.model_validate({"problem": "reweighting", "hypergradient": method})
    with pytest.raises(InputError, match="it would learn nothing; take darts"):
        formulation("reweighting").refuse(options, "weights of rows")


def test_a_problem_is_refused_where_something_else_is_to_be_learned() -> None:
    with pytest.raises(InputError, match="learns weights of rows, and ranks are wanted here; give"):
        formulation("reweighting").refuse(SearchOptions(problem="reweighting"), "ranks")
    with pytest.raises(InputError, match=r"search\.problem=reweighting, or `autolora-meta run`"):
        formulation("autolora").refuse(SearchOptions(), "weights of rows")
