"""Endless streams of batches: the same seed, the same batches; a saved place, the very next one."""

import pytest
import torch
from datasets import Dataset
from torch.utils.data import DataLoader

from autolora_meta.bilevel.feed import Batches
from autolora_meta.errors import InputError
from autolora_meta.finetuning.batch_order import BatchStream, LoaderStream

DATA = Dataset.from_dict({"x": list(range(10))})


def collate(rows: list[dict]) -> dict[str, torch.Tensor]:
    return {"x": torch.tensor([row["x"] for row in rows])}


def draw(stream: Batches, n: int) -> list[list[int]]:
    return [stream.next()["x"].tolist() for _ in range(n)]


def streams(seed: int) -> list[Batches]:
    loader = DataLoader(DATA, batch_size=4, shuffle=True, collate_fn=collate, drop_last=True)  # type: ignore[arg-type]
    return [BatchStream(DATA, collate, 4, seed), LoaderStream(loader, seed)]


@pytest.mark.parametrize("kind", [0, 1])
def test_seeded_and_shuffled_anew_each_epoch(kind: int) -> None:
    one = draw(streams(0)[kind], 6)
    torch.rand(7)  # what others draw changes nothing
    assert one == draw(streams(0)[kind], 6) != draw(streams(1)[kind], 6)
    assert one[:2] != one[2:4]
    for epoch in (one[:2], one[2:4], one[4:]):
        assert len({x for batch in epoch for x in batch}) == 8  # ten rows: two are dropped


@pytest.mark.parametrize("kind", [0, 1])
@pytest.mark.parametrize("place", [0, 1, 2, 5])
def test_resumed_at_the_very_same_batch(kind: int, place: int) -> None:
    stream = streams(3)[kind]
    draw(stream, place)
    state = stream.state_dict()
    rest = draw(stream, 5)
    resumed = streams(3)[kind]
    draw(resumed, 3)
    resumed.load_state_dict(state)
    assert draw(resumed, 5) == rest


@pytest.mark.parametrize("kind", [0, 1])
def test_peek_does_not_move(kind: int) -> None:
    expected = draw(streams(0)[kind], 4)
    stream, outside = streams(0)[kind], torch.get_rng_state()
    for batch in expected:
        assert stream.peek()["x"].tolist() == stream.peek()["x"].tolist() == batch
        assert stream.next()["x"].tolist() == batch
    assert torch.equal(torch.get_rng_state(), outside)


def test_a_list_of_batches_goes_round() -> None:
    stream = LoaderStream([(1, 2), (3, 4)])
    assert [stream.next() for _ in range(3)] == [(1, 2), (3, 4), (1, 2)]


def test_refusals() -> None:
    with pytest.raises(InputError, match="a batch of 11 rows cannot be drawn from 10 rows"):
        BatchStream(DATA, collate, 11, 0)
    with pytest.raises(InputError, match="no batch came"):
        LoaderStream([]).next()
    with pytest.raises(InputError, match="ends after the first"):
        LoaderStream(iter([1, 2]))
