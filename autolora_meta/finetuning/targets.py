"""Targets: the layers of a model that get LoRA, and those that a shared name leaves out."""

import difflib
import re
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from peft.utils import TRANSFORMERS_MODELS_TO_LORA_TARGET_MODULES_MAPPING as DEFAULT_TARGETS
from torch import nn
from transformers.pytorch_utils import Conv1D

from autolora_meta.errors import InputError
from autolora_meta.finetuning.adaptable import (
    KINDS,
    loose_parameters,
    narrow,
    objection,
    refuse_shared_weights,
    unadapted_blocks,
    uncalled,
)
from autolora_meta.finetuning.architectures import model_type
from autolora_meta.finetuning.heads import head_modules
from autolora_meta.ranks.place import Place

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
    modules = _outside(model, head_modules(model) if head is None else head)
    spared = {name for target in exclude for name in _matching(modules, target, "lora.exclude")}
    asked = set(_named(model, modules, targets)) - spared
    wanted = [name for name in modules if name in asked]  # in the order of the model
    if targets in (ALL_LINEAR, DEFAULT):
        left_out = _left_out(model, wanted, k, forward)
        names = tuple(name for name in wanted if name not in left_out)
        all_linear = targets == ALL_LINEAR
        left_out |= loose_parameters(modules) if all_linear else unadapted_blocks(modules, names)
    else:
        _refuse_objections(model, wanted)
        names, left_out = tuple(wanted), {}
    if not names:
        raise InputError(
            f"lora.targets is {targets}, and the model has no linear layer to adapt"
            f"{_convolution(model, modules)}"
        )
    refuse_shared_weights(modules, names)
    return Targets(names, left_out)


def _outside(model: nn.Module, head: Sequence[str]) -> dict[str, nn.Module]:
    """Return the modules of a model that are not in its head, by name."""
    trained = tuple(f"{name}." for name in head)
    return {
        name: module
        for name, module in model.named_modules()
        if name and not f"{name}.".startswith(trained)
    }


def _named(
    model: nn.Module, modules: Mapping[str, nn.Module], targets: str | Sequence[str]
) -> list[str]:
    """Return the layers that `targets` means, whether they can be adapted or not."""
    if targets == ALL_LINEAR:
        outputs = getattr(model, "get_output_embeddings", lambda: None)()
        return [
            name
            for name, module in modules.items()
            if isinstance(module, nn.Linear | Conv1D) and module is not outputs
        ]
    if targets == DEFAULT:
        return _default(model, modules)
    given = (targets,) if isinstance(targets, str) else targets
    return [name for target in given for name in _matching(modules, target)]


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


def _left_out(
    model: nn.Module, names: Sequence[str], k: int, forward: Callable[[], object] | None
) -> dict[str, str]:
    """Return the layers among `names` that a shared name leaves out, and why."""
    left_out = _objections(model, names)
    left_out |= narrow(model, [name for name in names if name not in left_out], k)
    return left_out | uncalled(model, [name for name in names if name not in left_out], forward)


def _objections(model: nn.Module, names: Sequence[str]) -> dict[str, str]:
    return {name: reason for name in names if (reason := objection(model, name))}


def _refuse_objections(model: nn.Module, names: Sequence[str]) -> None:
    """Refuse layers that a person named and that cannot be gated."""
    reasons = _objections(model, names)
    if reasons:
        name = min(reasons)
        reason = reasons[name]
        what = f" {reason.removeprefix('it ')}" if reason.startswith("it ") else f": {reason}"
        raise InputError(
            f"lora.targets names {len(reasons)} layers that cannot be gated: {name}{what}; allowed "
            f"kinds: {KINDS}"
        )


def _convolution(model: nn.Module, modules: Mapping[str, nn.Module]) -> str:
    """Return the end of a message that tells of a convolution to adapt, if there is one."""
    free = [
        name.rpartition(".")[2]
        for name, module in modules.items()
        if isinstance(module, nn.Conv2d) and objection(model, name) is None
    ]
    return f"; convolutions get adapters by name, as lora.targets: [{free[-1]}]" if free else ""
