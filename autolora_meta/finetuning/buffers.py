"""Buffers that training would change: an adapter does not hold them, so they are kept fixed."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from peft.utils import ModulesToSaveWrapper
from torch import nn
from torch.nn.modules.batchnorm import _NormBase

from autolora_meta.errors import InputError
from autolora_meta.foundation.randomness import RandomState, replay


@contextmanager
def standing_still(wrapped: nn.Module) -> Iterator[None]:
    """Run the body with fixed running statistics.

    Batch norm outside the head normalises by the statistics of the pretrained model, as in
    evaluation, in any mode of the model. Modules in `modules_to_save` are left alone: they are
    saved with their buffers.

    Args:
        wrapped: a PeftModel.
    """
    handles = [
        module.register_forward_pre_hook(lambda module, _: _stop(module))
        for module in running_statistics(wrapped).values()
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def running_statistics(model: nn.Module) -> dict[str, nn.Module]:
    """Return the modules outside the head that keep running statistics, by name."""
    return {
        name: module
        for name, module in model.named_modules()
        if isinstance(module, _NormBase)
        and module.running_mean is not None
        and not _is_saved(model, name)
    }


def refuse_moving_buffers(wrapped: nn.Module, train_step: Callable[[], object]) -> None:
    """Refuse a model with buffers that training changes and no adapter holds.

    Args:
        wrapped: a PeftModel.
        train_step: a forward pass in train mode; its changes of buffers are undone.

    Raises:
        InputError: there are such buffers; the message names them.
    """
    stored = wrapped.state_dict().keys()  # others are made anew with the model
    before = {name: buffer.clone() for name, buffer in wrapped.named_buffers()}
    with torch.no_grad(), replay(RandomState.snapshot()):
        train_step()
        after = dict(wrapped.named_buffers())
        moved = [
            name.removeprefix("base_model.model.")
            for name, buffer in before.items()
            if buffer.is_floating_point()  # no counter
            and name in stored
            and not _is_saved(wrapped, name)
            and not torch.equal(after[name], buffer)
        ]
        for name, buffer in before.items():
            after[name].copy_(buffer)
    if moved:
        raise InputError(
            f"training changes {len(moved)} buffers of the model, for example {moved[0]}, and an "
            "adapter does not hold them: loaded again, it would give other outputs. Keep them "
            "fixed in train mode, or name their modules as head (in Python), which is saved whole"
        )


def _stop(module: nn.Module) -> None:
    module.training = False


def _is_saved(model: nn.Module, name: str) -> bool:
    """Return whether PEFT trains and saves the module or buffer whole."""
    parts = name.split(".")
    return any(
        isinstance(model.get_submodule(".".join(parts[:i])), ModulesToSaveWrapper)
        for i in range(1, len(parts))
    )
