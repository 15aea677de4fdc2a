"""While training: one training, cut on its way, whose adapter is what it leaves."""

import copy
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
import torch

from autolora_meta.allocators import while_training
from autolora_meta.allocators.allocation import allocation
from autolora_meta.allocators.training import PLAIN
from autolora_meta.allocators.while_training import ALLOCATOR, Cut, cubic
from autolora_meta.bilevel.gating import lora_factors
from autolora_meta.finetuning.lora import with_adapter
from autolora_meta.finetuning.lora_config import lora_config
from autolora_meta.foundation.cost import Cost
from autolora_meta.pipeline.program import program_of
from tests.allocators.planted import RANKS, planted


def test_the_budget_falls_along_a_cubic() -> None:
    way = [cubic(100, 20, step / 10) for step in range(11)]
    assert way[0] == 100 and way[-1] == 20
    falls = [a - b for a, b in pairwise(way)]
    assert all(a > b > 0 for a, b in pairwise(falls))  # fast first, then slowly
    # third differences of a cubic are constant: 3! * 80 / 10^3
    third = torch.tensor(way, dtype=torch.float64).diff(n=3)
    torch.testing.assert_close(third, torch.full_like(third, -6 * 80 / 1000))


def test_planted_ranks_are_found_in_one_training() -> None:
    replicate = planted()
    before = {name: w.clone() for name, w in replicate.prepared.model.state_dict().items()}
    found = allocation(ALLOCATOR, replicate)
    assert found.pattern.ranks == RANKS
    search = replicate.config.search  # every step, and one of the gates for each outer step
    passes = search.warmup_steps + 2 * search.outer_steps
    assert found.spent.cost == Cost(passes, passes)
    assert ALLOCATOR.work(replicate.config) == passes < search.total_work("learned")
    after = replicate.prepared.model.state_dict()
    assert after.keys() == before.keys()
    assert all(torch.equal(after[name], w) for name, w in before.items())
    assert allocation(ALLOCATOR, planted()).pattern == found.pattern


def test_the_adapter_at_its_ranks_computes_what_was_trained(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    torch.manual_seed(1)
    x, seen = torch.randn(5, 18), []
    handed_on = while_training.start_of

    def watched(program: Any, model: Any, gates: Any) -> Any:
        assert sorted((gates() != 0).sum(dim=1).tolist()) == [0, 1, 3]
        with torch.no_grad():
            seen.append(model(x))
        return handed_on(program, model, gates)

    monkeypatch.setattr(while_training, "start_of", watched)
    replicate = planted()
    found = allocation(ALLOCATOR, replicate)
    assert found.start is not None
    base: Any = replicate.prepared.model
    model = with_adapter(copy.deepcopy(base), lora_config(found.pattern), seed=0)
    found.start.put_into(model)
    with torch.no_grad():
        torch.testing.assert_close(model(x), seen[0], atol=1e-5, rtol=1e-5)
        assert (model(x) - base(x)).abs().max() > 0.5


def test_what_is_cut_is_out_until_there_is_room_for_it() -> None:
    replicate = planted()
    program = program_of(replicate.config, replicate.prepared, 0)
    options = program.options.model_copy(update={"gates": PLAIN})
    program = replace(program, options=options)
    with program.opened() as (model, gates, _):
        factors = lora_factors(model, gates.names)
        sizes = torch.tensor([[4.0, 3.0, 2.0, 1.0], [0.5, 0.4, 0.3, 0.2], [0.1, 0.1, 0.1, 9.0]])
        with torch.no_grad():
            for size, (a, b) in zip(sizes, factors, strict=True):
                a.copy_(torch.eye(6)[:4])
                b.copy_(torch.eye(6)[:, :4] * size)  # component j has size size[j]
        cut = Cut(replicate, program, model, gates, (1, 1, 1))
        with torch.no_grad():
            gates.logits[1, 0] = 1.0  # gate 2: the size is then 1
        assert cut.to(6) == (4, 1, 1)
        assert gates().tolist() == [[1, 1, 1, 1], [2, 0, 0, 0], [0, 0, 0, 1]]
        batch = {"x": torch.randn(4, 18), "y": torch.randn(4, 18)}
        program.loss(model, batch).backward()
        for gate, (a, b) in zip(gates(), factors, strict=True):
            assert a.grad is not None and b.grad is not None
            assert ((a.grad.norm(dim=1) > 0) == (gate != 0)).all()  # nothing trains what is out
            assert ((b.grad.norm(dim=0) > 0) == (gate != 0)).all()
        assert cut.to(3) == (2, 0, 1)
        with torch.no_grad():
            gates.logits[1] = 0.7  # an optimizer moves what is out, too; it stays out
        assert cut.to(3) == (2, 0, 1)
        assert cut.to(4) == (2, 1, 1)  # all that is in fits: what was cut comes back as it was
        assert gates().tolist() == [[1, 1, 0, 0], [2, 0, 0, 0], [0, 0, 0, 1]]
