"""Targets: the layers of a model that get LoRA, and those that a shared name leaves out."""

import difflib
import re
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from peft.utils import TRANSFORMERS_MODELS_TO_LORA_TARGET_MODULES_MAPPING as DEFAULT_TARGETS
from torch import nn
from transformers.pytorch_utils import Conv1D

from autolora_meta.errors import InputError
from autolora_meta.finetuning.architectures import expert_names, model_type, refused_by_peft
from autolora_meta.finetuning.heads import head_modules
from autolora_meta.finetuning.lora import largest_rank, maps_linearly
from autolora_meta.foundation.modes import evaluating
from autolora_meta.foundation.randomness import RandomState, replay
from autolora_meta.ranks.place import Place, alike

ALL_LINEAR, DEFAULT = "all-linear", "default"
# What the query and value projections are called, where PEFT's table has no entry; the last are one
# layer with the key's.
QUERY_VALUE = (
    ("query", "value"),
    ("q_proj", "v_proj"),
    ("q_lin", "v_lin"),
    ("q", "v"),
    ("qkv_proj",),
    ("Wqkv",),
)
KINDS = "nn.Linear, transformers' Conv1D, nn.Conv2d (no groups, no dilation)"
# Modules whose weights LoRA adapts, or that it is not for.
_KNOWN = (nn.Linear, Conv1D, nn.Embedding, nn.modules.conv._ConvNd, nn.modules.batchnorm._BatchNorm)


@dataclass(frozen=True)
class Targets:
    """The layers to adapt, and those that `all-linear` or `default` left out.

    Args:
        names: full names, in the order of the model.
        left_out: full name -> the reason.
    """

    names: tuple[str, ...]
    left_out: Mapping[str, str]

    def sentences(self) -> list[str]:
        """Return a sentence for each reason, with the layers that it left out."""
        by_reason: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))
        for name, reason in self.left_out.items():
            place = Place.of(name)
            kind = place.kind if place.block is not None else name
            by_reason[reason][kind] += 1
        return [
            "no adapter on "
            + ", ".join(f"{kind} ({n} layers)" if n > 1 else kind for kind, n in kinds.items())
            + f": {reason}"
            for reason, kinds in by_reason.items()
        ]


def target_layers(
    model: nn.Module,
    targets: str | Sequence[str],
    head: Sequence[str] | None = None,
    k: int = 1,
) -> tuple[str, ...]:
    """Return the full names of the layers to adapt, in the order of the model (`choose_targets`).

    >>> target_layers(model, ["query", "value"])[:1]  # doctest: +SKIP
    ('bert.encoder.layer.0.attention.self.query',)
    """
    return choose_targets(model, targets, head, k).names


def choose_targets(
    model: nn.Module,
    targets: str | Sequence[str],
    head: Sequence[str] | None = None,
    k: int = 1,
    exclude: Sequence[str] = (),
    forward: Callable[[], object] | None = None,
) -> Targets:
    """Return the layers to adapt, and those that are left out.

    Args:
        model: the base, not yet wrapped.
        targets: `all-linear`: every Linear and Conv1D except the head, the output embeddings and
            what PEFT cannot adapt; `default`: PEFT's table for the architecture, else query and
            value; or names, each the whole name of a layer or its end after a dot.
        head: modules that are trained in full and get no adapter; None: those of `head_modules`.
        k: components of a layer. `all-linear` and `default` leave out layers that cannot hold so
            many, unless these are the majority.
        exclude: names, as in `targets`, of layers that get no adapter.
        forward: runs the model once, so that `all-linear` and `default` leave out the layers that
            it never calls; None: no layer is left out for that.

    Raises:
        InputError: no layer has a name, a layer cannot be gated, two layers share a weight, or
            there is nothing to adapt.
    """
    trained = tuple(f"{name}." for name in (head_modules(model) if head is None else head))
    modules = {
        name: module
        for name, module in model.named_modules()
        if name and not f"{name}.".startswith(trained)
    }
    spared = {name for target in exclude for name in _matching(modules, target, "lora.exclude")}
    if targets == ALL_LINEAR:
        outputs = getattr(model, "get_output_embeddings", lambda: None)()
        wanted = [
            name
            for name, module in modules.items()
            if isinstance(module, nn.Linear | Conv1D) and module is not outputs
        ]
    elif targets == DEFAULT:
        wanted = _default(model, modules)
    else:
        given = (targets,) if isinstance(targets, str) else targets
        wanted = [name for target in given for name in _matching(modules, target)]
    wanted = [name for name in modules if name in set(wanted) - spared]
    reasons = {name: reason for name in wanted if (reason := _objection(model, name))}
    if targets in (ALL_LINEAR, DEFAULT):
        left_out = reasons | _narrow(model, [name for name in wanted if name not in reasons], k)
        names = tuple(name for name in wanted if name not in left_out)
        left_out |= _uncalled(model, names, forward)
        names = tuple(name for name in names if name not in left_out)
        left_out |= _parameters(modules) if targets == ALL_LINEAR else _blocks(modules, names)
    elif reasons:
        name = min(reasons)
        what = (
            f" {reason.removeprefix('it ')}"
            if (reason := reasons[name])[:3] == "it "
            else (f": {reason}")
        )
        raise InputError(
            f"lora.targets names {len(reasons)} layers that cannot be gated: {name}{what}; allowed "
            f"kinds: {KINDS}"
        )
    else:
        names, left_out = tuple(wanted), {}
    if not names:
        free = [
            name.rpartition(".")[2]
            for name, module in modules.items()
            if isinstance(module, nn.Conv2d) and _objection(model, name) is None
        ]
        hint = f"; convolutions get adapters by name, as lora.targets: [{free[-1]}]" if free else ""
        raise InputError(
            f"lora.targets is {targets}, and the model has no linear layer to adapt{hint}"
        )
    _refuse_shared_weights(modules, names)
    return Targets(names, left_out)


def _default(model: nn.Module, modules: Mapping[str, nn.Module]) -> list[str]:
    kind = model_type(model) or type(model).__name__
    leaves = {name.rpartition(".")[2] for name in modules}
    if kind in DEFAULT_TARGETS:
        names = DEFAULT_TARGETS[kind]
        if isinstance(names, str):  # a regular expression of whole names
            return [name for name in modules if re.fullmatch(names, name)]
        return [name for target in names if target in leaves for name in _matching(modules, target)]
    for names in QUERY_VALUE:
        if leaves.issuperset(names):
            return [name for target in names for name in _matching(modules, target)]
    raise InputError(
        f"lora.targets is default, and there is no default for '{kind}': it is not in PEFT's table "
        "and has no layers called query and value; allowed: all-linear, or names of layers"
    )


def _matching(
    modules: Mapping[str, nn.Module], target: str, setting: str = "lora.targets"
) -> list[str]:
    found = [name for name in modules if name == target or name.endswith(f".{target}")]
    if not found:
        kinds = (nn.Linear, Conv1D, nn.Conv2d)
        leaves = sorted({n.rsplit(".", 1)[-1] for n, m in modules.items() if isinstance(m, kinds)})
        near = difflib.get_close_matches(target, [*leaves, *modules], n=1)
        hint = f" (did you mean '{near[0]}'?)" if near else ""
        raise InputError(
            f"{setting}: no layer is called '{target}'{hint}; layers there: {', '.join(leaves)}"
            "; or all-linear, or default"
        )
    return found


def _objection(model: nn.Module, name: str) -> str | None:
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


def _narrow(model: nn.Module, names: Sequence[str], k: int) -> dict[str, str]:
    """Return the layers that cannot hold k components; none if they are the majority."""
    limits = {name: largest_rank(model.get_submodule(name)) for name in names}
    narrow = {name: limit for name, limit in limits.items() if limit < k}
    if 2 * len(narrow) > len(names):
        return {}
    return {
        name: f"it can hold rank {limit} at most, and lora.k is {k}"
        for name, limit in narrow.items()
    }


def _uncalled(
    model: nn.Module, names: Sequence[str], forward: Callable[[], object] | None
) -> dict[str, str]:
    """Return the layers that a forward pass never calls; if it calls one expert, all count."""
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


def _parameters(modules: Mapping[str, nn.Module]) -> dict[str, str]:
    """Return weights that are not in a layer: experts in one tensor, the attention of XLNet."""
    return {
        f"{name}.{own}": "its weight is a plain parameter, in no layer that LoRA could wrap"
        for name, module in modules.items()
        if not isinstance(module, _KNOWN)
        for own, parameter in module.named_parameters(recurse=False)
        if parameter.ndim > 1 and min(parameter.shape[-2:]) > 1 and "embed" not in own
    }


def _blocks(modules: Mapping[str, nn.Module], names: Sequence[str]) -> dict[str, str]:
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


def _refuse_shared_weights(modules: Mapping[str, nn.Module], names: Sequence[str]) -> None:
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
