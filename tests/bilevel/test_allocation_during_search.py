"""The allocation while a search runs: followed at every row, and what ends the search early."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.bilevel.program import program

OPTIONS = {"outer_steps": 8, "warmup_steps": 2, "patience": 3}


def ranks(*each: list[int]) -> Callable[[], Tensor]:
    """These allocations one after another, the last again and again."""

    def course() -> Iterator[Tensor]:
        for given in each:
            yield torch.tensor(given)
        while True:
            yield torch.tensor(each[-1])

    following = course()
    return lambda: next(following)


def test_ranks_that_moved_are_counted_at_every_outer_step() -> None:
    with program(outer_steps=3, warmup_steps=2) as (_, __, engine):
        engine.follow(ranks([2, 2, 2], [3, 1, 2], [3, 1, 2], [1, 2, 3]))
        engine.run()
    assert [row["ranks_moved"] for row in engine.course.rows] == [1.0, 0.0, 2.0]
    assert engine.course.ranks.stacked().tolist() == [
        [2, 2, 2],
        [3, 1, 2],
        [3, 1, 2],
        [1, 2, 3],
    ]


def test_nothing_is_said_of_ranks_that_nobody_follows() -> None:
    with program(outer_steps=5, patience=1) as (_, __, engine):
        engine.run()
    assert len(engine.course.rows) == 5 and not engine.course.settled
    assert all("ranks_moved" not in row for row in engine.course.rows)


def test_a_search_ends_when_the_ranks_have_stood_still_for_long_enough() -> None:
    with program(**OPTIONS) as (_, __, engine):
        engine.follow(ranks([2, 2], [3, 1], [3, 1], [2, 2]))  # moves at steps 1 and 3
        engine.run()
    assert [row["ranks_moved"] for row in engine.course.rows] == [1, 0, 1, 0, 0, 0]
    assert engine.course.settled and engine.global_step == 2 + 6


def test_without_patience_it_takes_all_its_steps() -> None:
    with program(outer_steps=8) as (_, __, engine):
        engine.follow(ranks([2, 2]))
        engine.run()
    assert len(engine.course.rows) == 8 and not engine.course.settled


@pytest.mark.parametrize("inner_steps", [1, 2])
def test_a_search_with_frozen_gates_counts_outer_steps_after_its_warm_up(inner_steps: int) -> None:
    with program(selection="frozen", inner_steps=inner_steps, **OPTIONS) as (_, __, engine):
        engine.follow(ranks([2, 2]))
        engine.run()
    assert engine.course.settled and engine.global_step == 2 + 3 * inner_steps


def test_a_search_that_goes_on_from_its_state_ends_where_it_would_have() -> None:
    course = [[2, 2], [3, 1], [2, 2]]
    with program(**OPTIONS) as (_, __, engine):
        engine.follow(ranks(*course), lambda: torch.tensor([1.0, float(engine.global_step)]))
        engine.observe = lambda row: states.append(engine.state_dict())
        states: list[dict] = []
        engine.run()
    for state in states[2:]:
        with program(**OPTIONS) as (_, __, again):
            again.follow(ranks([2, 2]), lambda: torch.tensor([1.0, float(again.global_step)]))
            again.load_state_dict(state)
            again.run()
        assert again.course.settled and again.global_step == engine.global_step
        assert [r["ranks_moved"] for r in again.course.rows] == [
            r["ranks_moved"] for r in engine.course.rows
        ]
        assert len(again.course.ranks) == len(engine.course.ranks)
        kept, told = (e.course.importance.stacked() for e in (again, engine))
        assert torch.equal(kept, told)


# -- alpha fed random gradients -------------------------------------------------------------------


def test_random_gradients_move_the_gates_at_no_validation_pass() -> None:
    options = {"outer_steps": 4, "warmup_steps": 2, "outer": {"name": "adam"}}
    ends = []
    for _ in range(2):
        with program(0.3, selection="random", schedule="alternating", **options) as (*_, engine):
            engine.run()
            plain = engine.cost
            ends.append(engine.course.trajectory.stacked())
    with program(selection="frozen", **options) as (_, __, frozen):
        frozen.run()
    assert plain == frozen.cost
    assert torch.equal(*ends) and (ends[0][1:] != ends[0][:-1]).any(dim=-1).all()
    assert all("implicit_norm" not in row and "gate_entropy" in row for row in engine.course.rows)


def test_random_gradients_do_not_know_the_validation_rows() -> None:
    moves = []
    for constraint in ("softmax", "free"):
        options: dict[str, Any] = {"gates": {"constraint": constraint}, "outer": {"name": "sgd"}}
        with program(selection="random", outer_steps=1, **options) as (_, gates, engine):
            before = gates.logits.detach().clone()
            engine.run()
            moves.append(gates.logits.detach() - before)
    torch.testing.assert_close(*moves)  # the same noise, whatever the loss says of these gates


def test_a_search_on_noise_goes_on_from_its_state_to_the_same_bytes() -> None:
    options = {"selection": "random", "outer_steps": 4, "warmup_steps": 1}
    with program(0.3, **options) as (_, gates, engine):
        for _ in range(3):
            engine.global_step += 1
            engine.train_step()
        state = engine.state_dict()
        engine.run()
        whole = gates.logits.detach().clone()
    with program(0.3, **options) as (_, gates, engine):
        torch.manual_seed(99)
        engine.load_state_dict(state)
        engine.run()
        assert torch.equal(whole, gates.logits.detach())
