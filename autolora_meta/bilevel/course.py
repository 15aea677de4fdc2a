"""Course: what one search leaves behind, step by step."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor

from autolora_meta.bilevel.options import SearchOptions
from autolora_meta.foundation.cost import Cost
from autolora_meta.foundation.progress import Row

_TENSORS = ("trajectory", "ranks", "importance")


class Growing(Sequence[Tensor]):
    """Tensors of one shape in one buffer, which doubles when it is full.

    >>> kept = Growing()
    >>> kept.append(torch.ones(2))
    >>> kept.append(torch.zeros(2))
    >>> kept.stacked()
    tensor([[1., 1.],
            [0., 0.]])
    """

    def __init__(self) -> None:
        self._held, self._count = torch.empty(0), 0

    def append(self, tensor: Tensor) -> None:
        """Keep a copy."""
        if self._count == len(self._held):
            longer = tensor.new_empty(max(16, 2 * self._count), *tensor.shape)
            if self._count:
                longer[: self._count] = self._held
            self._held = longer
        self._held[self._count] = tensor
        self._count += 1

    def stacked(self) -> Tensor:
        """Return all of them, one after the other. (T, ...)"""
        return self._held[: self._count].clone()

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: Any) -> Any:
        return self._held[: self._count][index]


class Course:
    """The course of one search: gates, allocation and figures after each of its outer steps.

    Args:
        gates: at the start. (L, k)
        options: of the search.
        a_step: rows of an outer step: one, and with frozen gates each inner step has one.

    Attributes:
        trajectory: the gates at the start and after every outer step, each (L, k).
        ranks: the allocation where it was first looked at and at every row since, each (L,).
        importance: of each layer at the same times, each (L,); empty if it is not followed.
        rows: the figures so far.
        cost: passes until it settled; None before.
    """

    def __init__(self, gates: Tensor, options: SearchOptions, a_step: int) -> None:
        self.trajectory, self.ranks, self.importance = Growing(), Growing(), Growing()
        self.trajectory.append(gates)
        self.rows: list[Row] = []
        self.cost: Cost | None = None
        self._options, self._a_step = options, a_step

    def look(self, ranks: Tensor | None, importance: Tensor | None) -> None:
        """Keep the allocation, and the importance that it follows from, as they are now. (L,)"""
        if ranks is not None:
            self.ranks.append(ranks)
        if importance is not None:
            self.importance.append(importance)

    def add(self, row: Row) -> None:
        """Keep the figures of a step, when gates and allocation have been kept."""
        if len(self.ranks) > 1:
            before, now = self.ranks[-2:]
            # (1/2) sum_l |r_l(t) - r_l(t-1)|: a rank that goes from one layer to another counts 1
            row["ranks_moved"] = float((now - before).abs().sum()) / 2
        self.rows.append(row)

    @property
    def settled(self) -> bool:
        """The allocation has stood still for as many outer steps as `patience` says."""
        if self._options.patience is None:
            return False
        still = self._options.patience * self._a_step
        last = self.rows[-still:]
        return (
            len(last) == still
            and last[0]["step"] > self._options.warmup_steps
            and all(row.get("ranks_moved") == 0 for row in last)
        )

    def state_dict(self) -> dict[str, Any]:
        """Return all of it."""
        return {
            **{name: getattr(self, name).stacked() for name in _TENSORS},
            "rows": [dict(row) for row in self.rows],
            "cost": None if self.cost is None else asdict(self.cost),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state_dict` returned."""
        for name in _TENSORS:
            kept = Growing()
            for tensor in state[name]:
                kept.append(tensor)
            setattr(self, name, kept)
        self.rows = [dict(row) for row in state["rows"]]
        self.cost = None if state["cost"] is None else Cost(**state["cost"])
