"""The order of training and validation rows: endless batches, whose place can be saved."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import torch
from datasets import Dataset

from autolora_meta.errors import InputError
from autolora_meta.foundation.randomness import RandomState, derive, replay

Batch = Any
Collate = Callable[[list[dict[str, Any]]], dict[str, Any]]


class _OfRows(ABC):
    """Batches that are collated of rows."""

    collate: Collate

    def next(self) -> dict[str, torch.Tensor]:
        """Return the next batch: name -> tensor, first axis of as many as `peek_rows` gives."""
        batch = self.peek()
        self.skip()
        return batch

    def peek(self) -> dict[str, torch.Tensor]:
        """The batch that `next` will give."""
        return dict(self.collate(self.peek_rows()))

    @abstractmethod
    def peek_rows(self) -> list[dict[str, Any]]:
        """Return the rows of the batch that `next` will give."""

    @abstractmethod
    def skip(self) -> None:
        """Go on as if the next batch had been taken."""


class BatchStream(_OfRows):
    """Seeded shuffled batches of an encoded data set.

    Each epoch has an order of its own. Rows that do not fill a batch at the end of an epoch are
    dropped, so that every step sees the same number of rows.

    Args:
        dataset: encoded rows.
        collate: makes a batch of a list of rows.
        batch_size: rows a batch.
        seed: of the orders.

    Raises:
        InputError: there are fewer rows than a batch holds.

    Example:
        >>> stream = BatchStream(rows, task.collator(tokenizer), 16, seed=0)  # doctest: +SKIP
        >>> batch = stream.next()                                             # doctest: +SKIP
    """

    def __init__(self, dataset: Dataset, collate: Collate, batch_size: int, seed: int) -> None:
        if not 1 <= batch_size <= len(dataset):
            raise InputError(
                f"a batch of {batch_size} rows cannot be drawn from {len(dataset)} rows; "
                "take a smaller batch_size, at least 1, or more rows"
            )
        self._dataset = dataset
        self.collate = collate
        self._batch_size = batch_size
        self._seed = seed
        self._epoch = -1
        self._order: list[int] = []
        self.load_state_dict({"epoch": 0, "position": 0})

    def peek_rows(self) -> list[dict[str, Any]]:
        """Return the rows of the batch that `next` will give: batch_size of them."""
        if self._position == len(self._dataset) // self._batch_size:
            self.load_state_dict({"epoch": self._epoch + 1, "position": 0})
        start = self._position * self._batch_size
        return self._dataset.__getitems__(self._order[start : start + self._batch_size])

    def skip(self) -> None:
        """Go on as if the next batch had been taken."""
        self._position += 1

    def state_dict(self) -> dict[str, int]:
        """The place: epoch, and batches already given in it."""
        return {"epoch": self._epoch, "position": self._position}

    def load_state_dict(self, state: Mapping[str, int]) -> None:
        """Go to a place that `state_dict` gave."""
        if state["epoch"] != self._epoch:
            self._order = self._order_of(state["epoch"])
        self._epoch, self._position = state["epoch"], state["position"]

    def _order_of(self, epoch: int) -> list[int]:
        """Return the numbers of the rows in the order of an epoch."""
        generator = torch.Generator().manual_seed(derive(self._seed, "epoch", epoch))
        return torch.randperm(len(self._dataset), generator=generator).tolist()


class JoinedStream(_OfRows):
    """Batches that hold the rows of a batch of each of several streams, padded together.

    Args:
        streams: one after the other in each batch; they collate alike.
    """

    def __init__(self, streams: Sequence[BatchStream]) -> None:
        self._streams = streams
        self.collate = streams[0].collate

    def peek_rows(self) -> list[dict[str, Any]]:
        """Return the rows of the batch that `next` will give: those of each stream in turn."""
        return [row for stream in self._streams for row in stream.peek_rows()]

    def skip(self) -> None:
        """Go on as if the next batch had been taken."""
        for stream in self._streams:
            stream.skip()

    def state_dict(self) -> dict[str, Any]:
        """The place of each stream."""
        return {"streams": [stream.state_dict() for stream in self._streams]}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go to a place that `state_dict` gave."""
        for stream, place in zip(self._streams, state["streams"], strict=True):
            stream.load_state_dict(place)


class Interleaved:
    """Batches of several iterables in turn, until all have ended.

    >>> list(Interleaved([[1, 2, 3], [10]]))
    [1, 10, 2, 3]

    Args:
        several: each can be iterated again.

    Raises:
        InputError: one is an iterator, which ends after one epoch.
    """

    def __init__(self, several: Sequence[Iterable[Any]]) -> None:
        for batches in several:
            _refuse_iterator(batches)
        self._several = several

    def __iter__(self) -> Iterator[Any]:
        going = [iter(batches) for batches in self._several]
        while going:
            for iterator in [*going]:
                try:
                    yield next(iterator)
                except StopIteration:
                    going.remove(iterator)


class LoaderStream:
    """Endless batches from any iterable that can be iterated again: a DataLoader, a list.

    What the iterable draws from torch's random state (shuffling, random crops) comes from a state
    of its own, seeded for each epoch. So its order does not depend on other draws, and a resumed
    search sees the same batches. A DataLoader with its own generator draws from that instead, and
    its position cannot be saved.

    Args:
        batches: the iterable; a mapping in it, such as a BatchEncoding, becomes a dict.
        seed: of the random state that it draws from.

    Raises:
        InputError: it is empty, or is an iterator, which ends after one epoch.
    """

    def __init__(self, batches: Iterable[Any], seed: int = 0) -> None:
        _refuse_iterator(batches)
        self._batches = batches
        self._seed = seed
        self._ahead: list[Batch] = []
        self.load_state_dict({"epoch": 0, "position": 0})

    def next(self) -> Batch:
        """Return the next batch, as the iterable gives it."""
        batch = self.peek()
        self._ahead.clear()
        self._position += 1
        return batch

    def peek(self) -> Batch:
        """The batch that `next` will give."""
        if not self._ahead:
            try:
                self._ahead.append(self._draw())
            except StopIteration:
                if not self._position:
                    raise InputError("the batches given are empty: no batch came") from None
                self.load_state_dict({"epoch": self._epoch + 1, "position": 0})
                return self.peek()
        return self._ahead[0]

    def state_dict(self) -> dict[str, int]:
        """The place: epoch, and batches already given in it."""
        return {"epoch": self._epoch, "position": self._position}

    def load_state_dict(self, state: Mapping[str, int]) -> None:
        """Go to a position that `state_dict` returned; the batches before it are drawn again."""
        self._epoch, self._position = state["epoch"], state["position"]
        self._ahead.clear()
        with replay(RandomState.snapshot()):
            torch.manual_seed(derive(self._seed, "epoch", self._epoch))
            self._iterator = iter(self._batches)
            self._random = RandomState.snapshot()
        for _ in range(self._position):
            self._draw()

    def _draw(self) -> Batch:
        with replay(self._random):
            batch = next(self._iterator)
            self._random = RandomState.snapshot()
        return dict(batch) if isinstance(batch, Mapping) else batch


def _refuse_iterator(batches: Iterable[Any]) -> None:
    if isinstance(batches, Iterator):
        raise InputError(
            f"batches are iterated many times, and a {type(batches).__name__} ends after the "
            "first; give a DataLoader or a list"
        )
