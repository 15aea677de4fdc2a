"""Streams of batches in parts: several passes make one step."""

from collections.abc import Mapping, Sequence
from typing import Any

from autolora_meta.errors import InputError
from autolora_meta.finetuning.batch_order import BatchStream, Collate, LoaderStream
from autolora_meta.foundation.parts import Count, Parts


def stream_of(
    dataset: Any, collate: Collate, batch_size: int, seed: int, parts: int, count: Count
) -> "BatchStream | PartStream":
    """Return seeded shuffled batches of `parts` times `batch_size` rows, in as many parts.

    Args:
        dataset, collate, seed: as of `BatchStream`.
        batch_size: rows of a part.
        parts: of a batch; 1: batches are whole.
        count: part -> how many its loss is the mean of.

    Raises:
        InputError: there are fewer rows than a batch holds.
    """
    if parts == 1:
        return BatchStream(dataset, collate, batch_size, seed)
    if parts * batch_size > len(dataset):
        raise InputError(
            f"{parts} passes (search.accumulate) of {batch_size} rows make a batch of "
            f"{parts * batch_size}, which cannot be drawn from {len(dataset)} rows; lower "
            "search.accumulate or the batch size"
        )
    return PartStream(BatchStream(dataset, collate, parts * batch_size, seed), parts, count)


class PartStream:
    """The batches of a stream, each in parts: the same rows in the same order.

    Args:
        stream: of whole batches.
        parts: of each.
        count: part -> how many its loss is the mean of.
    """

    def __init__(self, stream: BatchStream, parts: int, count: Count) -> None:
        self._stream, self._parts, self._count = stream, parts, count

    def next(self) -> Parts:
        """Return the next batch."""
        batch = self.peek()
        self._stream.skip()
        return batch

    def peek(self) -> Parts:
        """The batch that `next` will give."""
        rows = self._stream.peek_rows()
        size = len(rows) // self._parts
        cut = [rows[i : i + size] for i in range(0, len(rows), size)]
        return Parts.of([dict(self._stream.collate(part)) for part in cut], self._count)

    def state_dict(self) -> dict[str, Any]:
        """The place of the stream."""
        return self._stream.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go to a place that `state_dict` gave."""
        self._stream.load_state_dict(state)


class PartLoaderStream:
    """Several batches of a loader, as the parts of one.

    Args:
        stream: of the loader.
        parts: batches taken together.
        count: batch -> how many its loss is the mean of.
    """

    def __init__(self, stream: LoaderStream, parts: int, count: Count) -> None:
        self._stream, self._parts, self._count = stream, parts, count
        self._ahead: Sequence[Any] = ()
        self._place: dict[str, Any] = {}

    def next(self) -> Parts:
        """Return the next batches of the loader."""
        batch = self.peek()
        self._ahead = ()
        return batch

    def peek(self) -> Parts:
        """The batch that `next` will give."""
        if not self._ahead:
            self._place = self._stream.state_dict()
            self._ahead = [self._stream.next() for _ in range(self._parts)]
        return Parts.of(self._ahead, self._count)

    def state_dict(self) -> dict[str, Any]:
        """The place before what was looked at ahead."""
        return self._place if self._ahead else self._stream.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go to a place that `state_dict` gave."""
        self._ahead = ()
        self._stream.load_state_dict(state)
