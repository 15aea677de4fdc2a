"""Stacks that are stopped go on to the same bytes; those that do not fit are halved; trials."""

import logging
import signal
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from autolora_meta.errors import InputError
from autolora_meta.finetuning import stacked_retrain, stacked_rows, stacked_trial
from autolora_meta.finetuning.stacked import Stack
from autolora_meta.finetuning.stacked_jobs import Job
from autolora_meta.finetuning.stacked_retrain import Trained, retrain_stacked
from autolora_meta.foundation.checkpoints import Checkpoints, Every
from autolora_meta.foundation.progress import Silent
from tests.finetuning.stacked_cases import Make

DROPOUT = 0.3


class Killed(Exception):
    """What ends a training in the middle."""


class Kills(Silent):
    def __init__(self, after: int) -> None:
        self.left, self.work = after, 0.0

    def step(self, loss: float | None = None, work: float = 1.0) -> None:
        self.left -= 1
        self.work += work
        if self.left == 0:
            raise Killed


def jobs_of(make: Make) -> list[Job]:
    return [make(), make((2, 2, 2, 2), seed=1, steps=9, batch_size=7, rows=33)]


def same(one: Sequence[Trained | Exception], other: Sequence[Trained | Exception]) -> None:
    for mine, theirs in zip(one, other, strict=True):
        assert isinstance(mine, Trained) and isinstance(theirs, Trained)
        assert (mine.metrics, mine.log) == (theirs.metrics, theirs.log)
        assert all(torch.equal(value, theirs.state[name]) for name, value in mine.state.items())


def test_a_stack_that_is_killed_goes_on_to_the_same_bytes(make: Make, tmp_path: Path) -> None:
    whole = retrain_stacked(jobs_of(make), dropout=DROPOUT)
    kept = Checkpoints(tmp_path, Every(steps=3))
    for after in (5, 12):  # the second time after the shorter job has ended
        with pytest.raises(Killed):
            retrain_stacked(jobs_of(make), dropout=DROPOUT, progress=Kills(after), checkpoints=kept)
    said: list[str] = []
    rest = Kills(99)
    again = retrain_stacked(
        jobs_of(make), dropout=DROPOUT, progress=rest, checkpoints=kept, say=said.append
    )
    same(again, whole)
    assert said == [f"goes on at step 12 of 20 (a checkpoint in {tmp_path})"]
    assert rest.work == 20 + 9  # what was done before counts as done


@pytest.mark.usefixtures("both_signals")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_is_answered_when_the_step_is_saved(
    make: Make, tmp_path: Path, number: signal.Signals
) -> None:
    class Stops(Silent):
        def step(self, loss: float | None = None, work: float = 1.0) -> None:
            signal.raise_signal(number)

    kept = Checkpoints(tmp_path, Every())
    with pytest.raises(KeyboardInterrupt):
        retrain_stacked(jobs_of(make), progress=Stops(), checkpoints=kept)
    assert kept.step == 1


def test_checkpoints_of_another_stack_are_refused(make: Make, tmp_path: Path) -> None:
    kept = Checkpoints(tmp_path, Every(steps=2))
    with pytest.raises(Killed):
        retrain_stacked(jobs_of(make), progress=Kills(4), checkpoints=kept)
    one, other = jobs_of(make)
    with pytest.raises(InputError, match="another configuration"):
        retrain_stacked([other, one], checkpoints=kept)
    with pytest.raises(InputError, match="another configuration"):
        retrain_stacked([one, other], dropout=DROPOUT, checkpoints=kept)
    fewer = replace(one.prepared, rows=make(rows=20).prepared.rows)
    with pytest.raises(InputError, match="rows are others"):
        retrain_stacked([replace(one, prepared=fewer), other], checkpoints=kept)


def test_jobs_for_which_memory_does_not_suffice_are_halved(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    jobs = [make(seed=seed, steps=4) for seed in range(5)]
    train, passes = stacked_retrain._train, list[int]()

    def small(stack: object, part: list[Job], *rest: object) -> object:
        passes.append(len(part))
        if len(part) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return train(stack, part, *rest)  # type: ignore[arg-type]

    alone = retrain_stacked(jobs[:1])
    monkeypatch.setattr(stacked_retrain, "_train", small)
    kept = Checkpoints(tmp_path, Every(steps=1))
    with caplog.at_level(logging.WARNING):
        found = retrain_stacked(jobs, checkpoints=kept)
    assert passes == [5, 3, 2, 1, 2]
    assert "for 5 adapters at a time: 3 at a time" in caplog.text
    trained = [one for one in found if isinstance(one, Trained)]
    assert [one.stack for one in trained] == [2, 2, 1, 2, 2]
    assert isinstance(alone[0], Trained)
    assert trained[0].metrics == pytest.approx(alone[0].metrics, abs=1e-9)

    def none(*_: object) -> object:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(stacked_retrain, "_train", none)
    with pytest.raises(torch.OutOfMemoryError):
        retrain_stacked(jobs[:1])


def test_one_that_is_too_large_alone_costs_no_other_its_training(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs = [make(seed=seed, steps=4) for seed in range(4)]
    train = stacked_retrain._train

    def small(stack: object, part: list[Job], *rest: object) -> object:
        if any(job.seed == 2 for job in part):
            raise torch.OutOfMemoryError("CUDA out of memory")
        return train(stack, part, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(stacked_retrain, "_train", small)
    first, second, large, last = retrain_stacked(jobs)
    assert isinstance(large, torch.OutOfMemoryError)
    assert [one.stack for one in (first, second, last) if isinstance(one, Trained)] == [2, 2, 1]


def test_memory_that_lacks_in_the_look_at_mixed_rows_halves_the_stack(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    moved = stacked_rows._moved

    def small(stack: Stack, *rest: Any) -> Any:
        if len(stack) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return moved(stack, *rest)

    monkeypatch.setattr(stacked_rows, "_moved", small)
    found = retrain_stacked([make(seed=seed, steps=2) for seed in range(4)])
    assert [one.stack for one in found if isinstance(one, Trained)] == [2, 2, 2, 2]


def test_a_trial_says_what_a_stack_gains_and_leaves_the_model_alone(make: Make) -> None:
    job = make(steps=2)
    before = {name: p.clone() for name, p in job.prepared.model.state_dict().items()}
    assert stacked_trial.times_as_fast(job, 8, 0.0, "cpu") > 0
    after = job.prepared.model.state_dict()
    assert after.keys() == before.keys()
    assert all(torch.equal(after[name], value) for name, value in before.items())
    with pytest.raises(InputError, match="group_by_length"):
        stacked_trial.times_as_fast(make(group_by_length=True), 2, 0.0, "cpu")


def test_as_many_fit_as_the_memory_of_one_step_says(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = make()
    model = job.prepared.model
    base = sum(p.numel() * p.element_size() for p in model.parameters())

    class Rose(list[int]):
        def __enter__(self) -> "Rose":
            return self

        def __exit__(self, *_: object) -> None:
            self.append(base + 1000)

    monkeypatch.setattr(stacked_trial, "peak", lambda device: Rose())
    free = int((3 * base + 20_500) / 0.8)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (free, 2 * free))
    assert stacked_trial.most_that_fit(job, 64, 0.0, "cpu") == 20
    assert stacked_trial.most_that_fit(job, 8, 0.0, "cpu") == 8
