"""Seeds, and the snapshot and replay of the random state (design.md, invariant 2)."""

import hashlib
import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
import torch


def seed_everything(seed: int) -> None:
    """Seed Python, numpy and torch (all devices) with `seed`."""
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)


def derive(seed: int, *purpose: int | str) -> int:
    """A seed for one purpose, independent of the others: 63 bits of a hash of seed and purpose.

    The split, the head, the factors, the order of rows and the shuffle of one replicate each draw
    from their own seed, so that changing one leaves the others as they were.
    """
    text = "/".join(map(str, (seed, *purpose)))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Run the body from `seed`; afterwards Python, numpy and torch draw on as if it had not run."""
    python, arrays, tensors = random.getstate(), np.random.get_state(), RandomState.snapshot()
    seed_everything(seed)
    try:
        yield
    finally:
        random.setstate(python)
        np.random.set_state(arrays)
        tensors.restore()


@dataclass(frozen=True)
class RandomState:
    """The state of torch's generators, from which dropout masks are drawn."""

    cpu: torch.Tensor
    cuda: list[torch.Tensor] = field(default_factory=list)

    @classmethod
    def snapshot(cls) -> "RandomState":
        """The state as it is now, on the CPU and on every CUDA device that is in use."""
        cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else []
        return cls(torch.get_rng_state(), cuda)

    def restore(self) -> None:
        """Make this the current state."""
        torch.set_rng_state(self.cpu)
        if self.cuda:
            torch.cuda.set_rng_state_all(self.cuda)


@contextmanager
def replay(state: RandomState) -> Iterator[None]:
    """Run the body from `state`, then go on as if it had never run, whatever happens inside."""
    outside = RandomState.snapshot()
    state.restore()
    try:
        yield
    finally:
        outside.restore()
