"""Seeds, and snapshots of the random state that can be replayed."""

import hashlib
import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch


def seed_everything(seed: int) -> None:
    """Seed Python, numpy and torch (all devices) with `seed`."""
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)


def derive(seed: int, *purpose: int | str) -> int:
    """Return a seed for one purpose: 63 bits of a hash of `seed` and `purpose`.

    The split, the head, the factors, the order of rows and the shuffle of a replicate each have a
    seed of their own, so that a change of one leaves the others alone.
    """
    text = "/".join(map(str, (seed, *purpose)))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Run the body from `seed`, then restore the random state of Python, numpy and torch."""
    outside = RandomState.snapshot()
    seed_everything(seed)
    try:
        yield
    finally:
        outside.restore()


@dataclass(frozen=True)
class RandomState:
    """The state of the random generators of torch, NumPy and Python.

    Dropout masks come from torch. Augmentation and layer drop may draw from the others.
    """

    cpu: torch.Tensor
    arrays: dict[str, Any]
    python: tuple[Any, ...]
    cuda: list[torch.Tensor] = field(default_factory=list)

    @classmethod
    def snapshot(cls) -> "RandomState":
        """Return the state as it is now, on the CPU and on every CUDA device that is in use."""
        cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else []
        arrays = np.random.get_state(legacy=False)
        assert isinstance(arrays, dict)
        return cls(torch.get_rng_state(), arrays, random.getstate(), cuda)

    def state_dict(self) -> dict[str, Any]:
        """Return it as tensors, lists and numbers."""
        arrays = {**self.arrays, "state": dict(self.arrays["state"])}
        arrays["state"]["key"] = arrays["state"]["key"].tolist()
        return {"cpu": self.cpu, "cuda": self.cuda, "arrays": arrays, "python": self.python}

    @classmethod
    def of(cls, state: dict[str, Any]) -> "RandomState":
        """Return what `state_dict` was taken of."""
        arrays = {**state["arrays"], "state": dict(state["arrays"]["state"])}
        arrays["state"]["key"] = np.array(arrays["state"]["key"], dtype=np.uint32)
        return cls(state["cpu"], arrays, state["python"], state["cuda"])

    def equals(self, other: "RandomState") -> bool:
        """Whether the same numbers would be drawn from the other."""
        own, others = (self.arrays["state"], other.arrays["state"])
        return (
            torch.equal(self.cpu, other.cpu)
            and self.python == other.python
            and own["pos"] == others["pos"]
            and np.array_equal(own["key"], others["key"])
            and all(map(torch.equal, self.cuda, other.cuda))
        )

    def restore(self) -> None:
        """Make this the current state."""
        torch.set_rng_state(self.cpu)
        np.random.set_state(self.arrays)
        random.setstate(self.python)
        if self.cuda:
            torch.cuda.set_rng_state_all(self.cuda)


@contextmanager
def replay(state: RandomState) -> Iterator[None]:
    """Run the body from `state`, then restore the random state, also when the body raises."""
    outside = RandomState.snapshot()
    state.restore()
    try:
        yield
    finally:
        outside.restore()


@contextmanager
def drawing_apart(number: int) -> Iterator[None]:
    """Draw in the body what no other number draws; what follows it draws the same for all.

    So processes that are in step have dropout masks of their own, and stay in step. Where the body
    draws nothing, the random state is as before it.

    Args:
        number: of the process.
    """
    before = RandomState.snapshot()
    seed = int.from_bytes(hashlib.sha256(before.cpu.numpy().tobytes()).digest()[:7], "big")
    seed_everything(derive(seed, "process", number))
    began = RandomState.snapshot()
    try:
        yield
    finally:
        drew = not began.equals(RandomState.snapshot())
        before.restore()
        if drew:
            seed_everything(derive(seed, "after all processes"))
