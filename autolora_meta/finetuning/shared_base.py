"""One base in memory for several models that were loaded from the same weights."""

import torch
from torch import Tensor, nn

from autolora_meta.finetuning.prepare import Prepared


def share_base(one: Prepared, other: Prepared) -> None:
    """Let the model of `other` hold the frozen numbers of `one` where they are equal.

    The head of each stays its own. Neither model may change its base afterwards.

    Args:
        one: whose numbers stay in memory.
        other: whose equal numbers are given back.
    """
    held, heads = dict(_tensors(one.model)), tuple(f"{name}." for name in other.head)
    for name, tensor in _tensors(other.model):
        known = held.get(name)
        if known is None or name.startswith(heads) or known.data_ptr() == tensor.data_ptr():
            continue
        same = (known.device, known.dtype) == (tensor.device, tensor.dtype)
        if same and torch.equal(known, tensor):
            tensor.data = known.data


def same_base(one: Prepared, other: Prepared) -> bool:
    """Return whether two models hold the same frozen numbers; their heads may differ."""
    mine, theirs = _frozen(one), _frozen(other)
    return mine.keys() == theirs.keys() and all(
        value.data_ptr() == theirs[name].data_ptr() or torch.equal(value, theirs[name])
        for name, value in mine.items()
    )


def _frozen(prepared: Prepared) -> dict[str, Tensor]:
    heads = tuple(f"{name}." for name in prepared.head)
    own = prepared.model.state_dict()
    return {name: value for name, value in own.items() if not name.startswith(heads)}


def _tensors(model: nn.Module) -> list[tuple[str, Tensor]]:
    return [*model.named_parameters(), *model.named_buffers()]
