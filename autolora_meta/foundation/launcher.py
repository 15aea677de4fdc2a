"""What starts several processes: torchrun, accelerate, or anything that sets what they set."""

import os
import traceback
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager, suppress

import torch

from autolora_meta.errors import InputError
from autolora_meta.foundation import processes
from autolora_meta.foundation.processes import IN_STEP, Group, Lost

_OF_LAUNCHERS = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE")
_SHARDED = {
    "ACCELERATE_USE_FSDP": "FSDP",
    "ACCELERATE_USE_DEEPSPEED": "DeepSpeed",
    "ACCELERATE_USE_MEGATRON_LM": "Megatron-LM",
    "ACCELERATE_USE_PARALLELISM_CONFIG": "a parallelism configuration",
}


def refuse_sharded(environ: MutableMapping[str, str] = os.environ) -> None:
    """Refuse a launcher that was told to cut the model in pieces.

    Raises:
        InputError: it was.
    """
    for name, said in _SHARDED.items():
        if environ.get(name, "").lower() in ("1", "true", "yes"):
            raise InputError(
                f"this was launched with {said}, which cuts a model in pieces; here each process "
                "holds the whole base, and rows are shared out. Launch it with torchrun, or with "
                "accelerate launch --multi_gpu alone"
            )


@contextmanager
def begun(environ: MutableMapping[str, str] = os.environ) -> Iterator[Group]:
    """Meet the other processes of a launcher; in the body `processes.together` reaches them.

    Raises:
        InputError: as of `refuse_sharded`.
    """
    refuse_sharded(environ)
    own_gpu = _own_gpu(environ)
    group = Group(int(environ["RANK"]), int(environ["WORLD_SIZE"]))
    group.meet(own_gpu)
    for name in _OF_LAUNCHERS:  # else transformers and accelerate would share out rows, too
        environ.pop(name, None)
    with processes.reaching(group):
        try:
            yield group
        finally:
            if group.rank == 0 and not group.broken:
                with suppress(Lost):
                    group.say(None)
            group.close()


def follow(group: Group) -> int:
    """Do what the first process says, until it says that all is done; return the exit status."""
    while True:
        try:
            told = group.hear()
        except Lost:
            return Lost.status  # whoever has ended has said so
        if told is None:
            return 0
        call, arguments = told
        failed: Exception | None = None
        try:
            with group.sharing():
                call(*arguments)
        except Lost:
            return Lost.status
        except Exception as error:
            failed = error
        group.note(f"{type(failed).__name__}: {failed}" if failed else "done")
        if failed and group.ended(0, IN_STEP) is None:
            if not isinstance(failed, InputError):
                traceback.print_exception(failed)
            return Lost.status


def _own_gpu(environ: MutableMapping[str, str]) -> bool:
    """Let this process see a GPU alone, where there is one for each process of this machine."""
    local, many = int(environ.get("LOCAL_RANK", 0)), int(environ.get("LOCAL_WORLD_SIZE", 1))
    there = torch.cuda.device_count()  # does not begin CUDA
    if there < many:
        return False
    visible = environ.get("CUDA_VISIBLE_DEVICES", "")
    names = [name for name in visible.split(",") if name] or [str(one) for one in range(there)]
    environ["CUDA_VISIBLE_DEVICES"] = names[local]
    return True
