"""Which layers LoRA can adapt: the reasons why it cannot, or why shared targets leave one out."""

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import nn
from transformers.pytorch_utils import Conv1D

from autolora_meta.errors import InputError
from autolora_meta.finetuning.architectures import expert_names, model_type, refused_by_peft
from autolora_meta.finetuning.lora import largest_rank, maps_linearly
from autolora_meta.foundation.modes import evaluating
from autolora_meta.foundation.randomness import RandomState, replay
from autolora_meta.ranks.place import Place, alike

KINDS = "nn.Linear, transformers' Conv1D, nn.Conv2d (no groups, no dilation)"
# Modules whose weights LoRA adapts, or that it is not for.
_KNOWN = (nn.Linear, Conv1D, nn.Embedding, nn.modules.conv._ConvNd, nn.modules.batchnorm._BatchNorm)


def objection(model: nn.Module, name: str) -> str | None:
    """Return why PEFT's LoRA on this layer cannot be gated, or None if it can."""
    module = model.get_submodule(name)
    parent = model.get_submodule(name.rpartition(".")[0])
    if isinstance(module, nn.MultiheadAttention) or isinstance(parent, nn.MultiheadAttention):
        return "it is (in) nn.MultiheadAttention, which never calls the layers inside it"
    if isinstance(module, nn.Embedding):
        return "it is nn.Embedding, where PEFT looks rows up and lora_A is never called"
    if isinstance(module, nn.Conv2d) and (module.groups > 1 or module.dilation != (1, 1)):
        return "it is nn.Conv2d with groups or dilation, which PEFT's lora_A does not follow"
    if not isinstance(module, nn.Linear | Conv1D | nn.Conv2d):
        return f"it is {type(module).__name__}"
    if isinstance(module, nn.Linear) and not maps_linearly(module):
        return f"{type(module).__name__} has a forward of its own that gives more than x W^T + b"
    architecture = model_type(model)
    if name.rpartition(".")[2] in expert_names(architecture):
        return f"in {architecture} PEFT takes a layer of this name for weights of the experts"
    if refused_by_peft(model, name):
        return f"PEFT refuses it in {architecture}"
    return None


def narrow(model: nn.Module, names: Sequence[str], k: int) -> dict[str, str]:
    """Return the layers that cannot hold k components; none if they are the majority."""
    limits = {name: largest_rank(model.get_submodule(name)) for name in names}
    narrow = {name: limit for name, limit in limits.items() if limit < k}
    if 2 * len(narrow) > len(names):
        return {}
    return {
        name: f"it can hold rank {limit} at most, and lora.k is {k}"
        for name, limit in narrow.items()
    }


def uncalled(
    model: nn.Module, names: Sequence[str], forward: Callable[[], object] | None
) -> dict[str, str]:
    """Return the layers that a forward pass never calls; if it calls one expert, all count.

    Args:
        model: the base.
        names: of the layers.
        forward: one forward pass of the model; None: no layer is found.
    """
    if forward is None:
        return {}
    called: set[str] = set()
    handles = [
        model.get_submodule(name).register_forward_hook(lambda *_, name=name: called.add(name))
        for name in names
    ]
    try:
        with torch.no_grad(), replay(RandomState.snapshot()), evaluating(model):
            forward()
    finally:
        for handle in handles:
            handle.remove()
    kinds = {alike(name) for name in called}
    return {
        name: "the model never calls it (it is not used, or only its weight is)"
        for name in names
        if alike(name) not in kinds
    }


def loose_parameters(modules: Mapping[str, nn.Module]) -> dict[str, str]:
    """Return weights that are not in a layer: experts in one tensor, the attention of XLNet."""
    return {
        f"{name}.{own}": "its weight is a plain parameter, in no layer that LoRA could wrap"
        for name, module in modules.items()
        if not isinstance(module, _KNOWN)
        for own, parameter in module.named_parameters(recurse=False)
        if parameter.ndim > 1 and min(parameter.shape[-2:]) > 1 and "embed" not in own
    }


def unadapted_blocks(modules: Mapping[str, nn.Module], names: Sequence[str]) -> dict[str, str]:
    """Return the linear layers of blocks in which `default` adapts nothing."""
    adapted = {_block(name) for name in names}
    return {
        name: "default adapts nothing in its block (all-linear does, or name it)"
        for name, module in modules.items()
        if isinstance(module, nn.Linear | Conv1D)
        and Place.of(name).block is not None
        and _block(name) not in adapted
    }


def _block(name: str) -> tuple[str, int | None]:
    place = Place.of(name)
    return place.stack, place.block


def refuse_shared_weights(modules: Mapping[str, nn.Module], names: Sequence[str]) -> None:
    """Refuse layers whose weight is also that of an embedding or of another layer.

    Raises:
        InputError: there is one.
    """
    embeddings = {
        id(module.weight): name
        for name, module in modules.items()
        if isinstance(module, nn.Embedding)
    }
    owner: dict[int, str] = {}
    for name in names:
        weight = id(modules[name].weight)
        if weight in embeddings:
            raise InputError(
                f"lora.targets: {name} shares its weight with the embedding {embeddings[weight]}, "
                "which would not be adapted with it, so that the two could never be merged; leave "
                "it out"
            )
        first = owner.setdefault(weight, name)
        if first != name:
            raise InputError(
                f"lora.targets: {first} and {name} share one weight, which cannot be adapted twice"
                "; leave one of them out"
            )
