"""More than one process, as torchrun and accelerate start them: one leads, the others follow.

The first process does all that one alone would do: it reads the configuration, writes files, shows
progress. Where work can be shared out among all (`together`), it tells the others what to call.
Inside of that, all take the same steps, each on rows of its own, and `summed` makes one gradient of
theirs. The groups are not torch's default one, so that other libraries see a single process.
"""

import pickle
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.rendezvous import rendezvous

from autolora_meta.errors import WorkFailed

T = TypeVar("T")
_STEP, _IDLE = timedelta(minutes=30), timedelta(days=7)  # longest waits for another process
IN_STEP = timedelta(seconds=30)  # for the others, once something has failed


class Lost(WorkFailed):
    """Another process of this run has ended, or is no longer in step with this one."""


class Group:
    """The processes of this run, and what they say to each other."""

    def __init__(self, rank: int, count: int) -> None:
        self.rank, self.count, self.broken = rank, count, ""
        self.shares, self.own_gpu, self._calls = False, False, 0
        self._store, _, _ = next(iter(rendezvous("env://")))
        self._numbers: Any = self._gloo("numbers", _STEP)
        self._words: Any = self._gloo("words", _IDLE)
        self._nccl: Any = None

    def meet(self, own_gpu: bool) -> None:
        """Wait for the others, and learn whether all have a GPU of their own."""
        lacking = torch.tensor([int(not own_gpu)])
        self.add_up(lacking)
        self.own_gpu = not int(lacking)

    @contextmanager
    def sharing(self) -> Iterator[None]:
        """Share out the work of the body."""
        self._calls += 1
        self.shares = True
        try:
            yield
        finally:
            self.shares = False

    def _gloo(self, name: str, longest: timedelta) -> Any:
        return dist.ProcessGroupGloo(self._named(name), self.rank, self.count, longest)

    def _named(self, name: str) -> Any:
        of_torch: Any = dist
        return of_torch.PrefixStore(f"autolora/{name}", self._store)

    def close(self) -> None:
        """Let go of the others, who see it at once."""
        self._numbers = self._words = self._nccl = None

    def add_up(self, flat: Tensor) -> None:
        """Replace a tensor, on every process, by the sum of those of all."""
        if flat.device.type == "cuda" and self.own_gpu:
            if self._nccl is None:
                about: Any = self._named("nccl"), self.rank, self.count, _STEP
                self._nccl = dist.ProcessGroupNCCL(*about)
            with self.answering():
                self._nccl.allreduce([flat]).wait()
            return
        here = flat.cpu()
        with self.answering():
            self._numbers.allreduce([here]).wait()
        if here is not flat:
            flat.copy_(here)

    def say(self, said: Any) -> None:
        """Send something to all others."""
        content = torch.frombuffer(bytearray(pickle.dumps(said)), dtype=torch.uint8)
        with self.answering():
            self._words.broadcast(torch.tensor([len(content)]), 0).wait()
            self._words.broadcast(content, 0).wait()

    def hear(self) -> Any:
        """Return what the first process says next."""
        length = torch.zeros(1, dtype=torch.int64)
        with self.answering():
            self._words.broadcast(length, 0).wait()
            content = torch.empty(int(length), dtype=torch.uint8)
            self._words.broadcast(content, 0).wait()
        return pickle.loads(content.numpy().tobytes())

    def note(self, said: str) -> None:
        """Leave word of how the call ended in this process."""
        self._store.set(f"autolora/ended/{self._calls}/{self.rank}", said)

    def ended(self, rank: int, longest: timedelta = timedelta(seconds=1)) -> str | None:
        """Return how the call ended in another process; None where it says nothing."""
        key = f"autolora/ended/{self._calls}/{rank}"
        try:
            self._store.wait([key], longest)
            return self._store.get(key).decode()
        except (RuntimeError, ValueError):
            return None

    @contextmanager
    def answering(self) -> Iterator[None]:
        """Say in a sentence that another process does not answer in the body."""
        try:
            yield
        except (RuntimeError, ValueError) as error:
            raise Lost(self._silence(error)) from error

    def _silence(self, error: Exception) -> str:
        on = "the same command goes on from the last checkpoint"
        for rank in range(1, self.count) if self.rank == 0 else ():
            if said := self.ended(rank):
                self.broken = f"process {rank} of {self.count} ended: {said}"
                return f"{self.broken}; {on}"
        said = str(error).splitlines()[0][:200]
        self.broken = f"another of the {self.count} processes does not answer"
        return f"{self.broken} (killed, out of memory, or out of reach: {said}); {on}"


_group: Group | None = None


@contextmanager
def reaching(group: Group) -> Iterator[None]:
    """Let the functions of this module reach a group in the body."""
    global _group
    _group = group
    try:
        yield
    finally:
        _group = None


def launched() -> int:
    """Return how many processes this run has."""
    return _group.count if _group else 1


def count() -> int:
    """Return among how many processes the present work is shared out; 1 outside `together`."""
    return _group.count if _group and _group.shares else 1


def rank() -> int:
    """Return the number of this process among them, from 0."""
    return _group.rank if _group and _group.shares else 0


def leads() -> bool:
    """Whether this process writes files and measures: the only one, or the first."""
    return _group is None or _group.rank == 0


def own_gpu() -> bool:
    """Whether each process has a GPU of its own, which it sees alone."""
    return _group is not None and _group.own_gpu


def summed(tensors: Sequence[Tensor]) -> list[Tensor]:
    """Return the sums over all processes that share this work out: of one process, its own tensors.

    Args:
        tensors: of the same shapes in every process.
    """
    if _group is None or not _group.shares:
        return [*tensors]
    found = [*tensors]
    alike: dict[tuple[torch.dtype, torch.device], list[int]] = {}
    for number, tensor in enumerate(tensors):
        alike.setdefault((tensor.dtype, tensor.device), []).append(number)
    for numbers in alike.values():
        flat = torch.cat([tensors[number].detach().reshape(-1) for number in numbers])
        _group.add_up(flat)
        parts = flat.split([tensors[number].numel() for number in numbers])
        for number, part in zip(numbers, parts, strict=True):
            found[number] = part.view(tensors[number].shape)
    return found


def anywhere(*flags: bool) -> list[bool]:
    """Return, of each flag, whether it is set in any of the processes that share this work out."""
    if _group is None or not _group.shares:
        return [*flags]
    return [bool(number) for number in summed([torch.tensor(flags, dtype=torch.int64)])[0]]


def agreed(call: Callable[[], T]) -> T:
    """Return what `call` gives in the first process, which alone calls it."""
    if _group is None or not _group.shares:
        return call()
    if _group.rank:
        found, value = _group.hear()
        if not found:
            raise WorkFailed(value)
        return value
    try:
        value = call()
    except Exception as error:
        _group.say((False, str(error)))
        raise
    _group.say((True, value))
    return value


def refuse_unlike(own: str, said: str) -> None:
    """Refuse processes that do not have the same where they should.

    Args:
        own: a hash of what this process has.
        said: what is wrong then.

    Raises:
        WorkFailed: another process has another hash.
    """
    if anywhere(agreed(lambda: own) != own)[0]:
        raise WorkFailed(said)


@contextmanager
def together(call: Callable[..., Any], *arguments: Any) -> Iterator[None]:
    """Share out the work of the body among all processes; with one process, just run it.

    Args:
        call: what the others are to call meanwhile, which takes the same steps as the body; like
            its `arguments` it pickles.

    Raises:
        Lost: another process has ended, or no longer answers.
    """
    if _group is None or _group.shares:
        yield
        return
    if _group.broken:
        raise Lost(f"nothing more can be shared out: {_group.broken}")
    _group.say((call, arguments))
    try:
        with _group.sharing():
            yield
    except Lost:
        raise
    except Exception as error:
        _group.note(str(error))
        # Where all fail alike they are in step again; else the others wait for what never comes.
        if not all(_group.ended(one, IN_STEP) for one in range(1, _group.count)):
            _group.broken = f"the first process failed alone ({error})"
        raise
