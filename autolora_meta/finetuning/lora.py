"""Which layers get LoRA, what a rank of each costs, and the model wrapped for a search."""

import difflib
import math
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from peft.utils import TRANSFORMERS_MODELS_TO_LORA_TARGET_MODULES_MAPPING as DEFAULT_TARGETS
from peft.utils import ModulesToSaveWrapper
from pydantic import Field
from torch import nn
from transformers.pytorch_utils import Conv1D

from autolora_meta.errors import InputError
from autolora_meta.finetuning.heads import head_modules, refuse_other_heads, train_in_float32
from autolora_meta.options import Options
from autolora_meta.randomness import RandomState, replay
from autolora_meta.ranks.export import lora_config
from autolora_meta.ranks.pattern import RankPattern

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


class LoraOptions(Options):
    """The adapters of the search."""

    k: int = Field(
        default=8,
        ge=1,
        description="rank-1 components of each layer in the search: its largest rank",
    )
    scale: float = Field(
        default=2.0,
        gt=0,
        description="the constant c in front of B A, the same in search and retrain whatever the "
        "rank: PEFT's lora_alpha is c times the rank",
    )
    targets: str | tuple[str, ...] = Field(
        default="all-linear",
        description="layers that are adapted: all-linear (all but the head), default (PEFT's "
        "choice for the architecture, query and value where it has none), or names: a layer's own "
        "(query) or its whole path",
    )
    dropout: float = Field(
        default=0.0, ge=0, lt=1, description="dropout on the input of the adapters"
    )


def target_layers(
    model: nn.Module, targets: str | Sequence[str], head: Sequence[str] | None = None
) -> tuple[str, ...]:
    """Full names of the layers to adapt, in the order of the model.

    Args:
        model: the base, not yet wrapped.
        targets: `all-linear`: every Linear and Conv1D but the head, the output embeddings and
            layers inside nn.MultiheadAttention; `default`: PEFT's table for the architecture, query
            and value where it has none; or names, each a layer's whole name or the end of it after
            a dot.
        head: modules that are trained in full and get no adapter; None: those outside the
            pretrained base of a transformers model.

    Raises:
        InputError: a name that no layer has, a layer that cannot be gated, two layers that share a
            weight, or nothing to adapt.

    >>> target_layers(model, ["query", "value"])[:1]  # doctest: +SKIP
    ('bert.encoder.layer.0.attention.self.query',)
    """
    trained = tuple(f"{name}." for name in (head_modules(model) if head is None else head))
    modules = {
        name: module
        for name, module in model.named_modules()
        if name and not f"{name}.".startswith(trained)
    }
    if targets == "all-linear":
        outputs = getattr(model, "get_output_embeddings", lambda: None)()
        chosen = {
            name
            for name, module in modules.items()
            if isinstance(module, nn.Linear | Conv1D)
            and module is not outputs
            and not _objection(model, name)
        }
        if not chosen:
            raise InputError(
                "lora.targets is all-linear, and the model has no linear layer to adapt"
            )
    else:
        wanted = _default_targets(model, modules) if targets == "default" else targets
        wanted = (wanted,) if isinstance(wanted, str) else wanted
        chosen = {name for target in wanted for name in _matching(modules, target)}
        objections = [reason for name in chosen if (reason := _objection(model, name))]
        if objections:
            raise InputError(
                f"lora.targets names {len(objections)} layers that cannot be gated: "
                f"{min(objections)}; allowed kinds: {KINDS}"
            )
    names = tuple(name for name in modules if name in chosen)
    _refuse_shared_weights(modules, names)
    return names


def _default_targets(model: nn.Module, modules: Iterable[str]) -> Sequence[str]:
    kind = getattr(getattr(model, "config", None), "model_type", type(model).__name__)
    if kind in DEFAULT_TARGETS:
        return DEFAULT_TARGETS[kind]
    leaves = {name.rpartition(".")[2] for name in modules}
    for names in QUERY_VALUE:
        if leaves.issuperset(names):
            return names
    raise InputError(
        f"lora.targets is default, and there is no default for '{kind}': it is not in PEFT's table "
        "and has no layers called query and value; allowed: all-linear, or names of layers"
    )


def _matching(modules: dict[str, nn.Module], target: str) -> list[str]:
    found = [name for name in modules if name == target or name.endswith(f".{target}")]
    if not found:
        kinds = (nn.Linear, Conv1D, nn.Conv2d)
        leaves = sorted({n.rsplit(".", 1)[-1] for n, m in modules.items() if isinstance(m, kinds)})
        near = difflib.get_close_matches(target, [*leaves, *modules], n=1)
        hint = f" (did you mean '{near[0]}'?)" if near else ""
        raise InputError(
            f"lora.targets: no layer is called '{target}'{hint}; layers there: {', '.join(leaves)}"
            "; or all-linear, or default"
        )
    return found


def _objection(model: nn.Module, name: str) -> str | None:
    """Why PEFT's LoRA on this layer cannot be gated; None where it can."""
    module = model.get_submodule(name)
    parent = model.get_submodule(name.rpartition(".")[0])
    if isinstance(module, nn.MultiheadAttention) or isinstance(parent, nn.MultiheadAttention):
        return f"{name} is (in) nn.MultiheadAttention, which never calls the layers inside it"
    if isinstance(module, nn.Embedding):
        return f"{name} is nn.Embedding, where PEFT looks rows up and lora_A is never called"
    if isinstance(module, nn.Conv2d) and (module.groups > 1 or module.dilation != (1, 1)):
        return f"{name} is nn.Conv2d with groups or dilation, which PEFT's lora_A does not follow"
    if not isinstance(module, nn.Linear | Conv1D | nn.Conv2d):
        return f"{name} is {type(module).__name__}"
    return None


def _refuse_shared_weights(modules: dict[str, nn.Module], names: Sequence[str]) -> None:
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


def layer_costs(model: nn.Module, names: Sequence[str]) -> tuple[int, ...]:
    """Trainable parameters that one rank costs in each layer. (L,)

    A and B of rank 1 hold in + out numbers; of a convolution in * kernel height * width + out.
    """
    return tuple(_cost(model.get_submodule(name)) for name in names)


def _cost(layer: nn.Module) -> int:
    if isinstance(layer, nn.Conv2d):
        return layer.in_channels * math.prod(layer.kernel_size) + layer.out_channels
    if isinstance(layer, Conv1D):
        return layer.nx + layer.nf
    assert isinstance(layer, nn.Linear)
    return layer.in_features + layer.out_features


def refuse_narrow_layers(model: nn.Module, names: Sequence[str], k: int) -> None:
    """No update of a layer has a rank above the smaller side of its weight.

    Raises:
        InputError: k is above that in some layer.
    """
    limits = {name: _largest_rank(model.get_submodule(name)) for name in names}
    narrow = {name: limit for name, limit in limits.items() if limit < k}
    if narrow:
        name = min(narrow, key=narrow.__getitem__)
        raise InputError(
            f"lora.k is {k}, and {name} can hold rank {narrow[name]} at most (so do "
            f"{len(narrow)} of {len(names)} layers); give k of at most {narrow[name]}, or name the "
            "other layers in lora.targets"
        )


def _largest_rank(layer: nn.Module) -> int:
    """The smaller side of the weight as a matrix; of a convolution out x (in * height * width)."""
    if isinstance(layer, nn.Conv2d):
        return min(layer.out_channels, layer.in_channels * math.prod(layer.kernel_size))
    assert isinstance(layer, nn.Linear | Conv1D)
    return min(layer.weight.shape)


def wrap_for_search(
    model: nn.Module,
    names: Sequence[str],
    options: LoraOptions,
    seed: int,
    *,
    head: Sequence[str] = (),
) -> PeftModel:
    """Put LoRA of rank k on every layer of `names`, with scale c, as the adapter "default".

    Args:
        model: the base; wrapped in place (see `unwrapped_afterwards`).
        names: full names, as `target_layers` gives them.
        options: k, scale, dropout.
        seed: the factors A are drawn from it; B is 0.
        head: names of modules that are trained in full.
    """
    ranks, costs = (options.k,) * len(names), layer_costs(model, names)
    pattern = RankPattern(tuple(names), ranks, costs, k=options.k, scale=options.scale)
    config = lora_config(pattern, dropout=options.dropout, modules_to_save=head or None)
    return with_adapter(model, config, seed)


def with_adapter(model: nn.Module, config: LoraConfig, seed: int) -> PeftModel:
    """`get_peft_model` with factors drawn from `seed`; the random state outside does not move."""
    refuse_other_heads(model, config)
    with replay(RandomState.snapshot()), quiet_peft():
        torch.manual_seed(seed)
        wrapped = get_peft_model(model, config)  # pyright: ignore[reportArgumentType]
    assert isinstance(wrapped, PeftModel)
    for module in wrapped.modules():
        if isinstance(module, ModulesToSaveWrapper):
            train_in_float32(module.modules_to_save["default"])
    return wrapped


@contextmanager
def quiet_peft() -> Iterator[None]:
    """Without the warnings of PEFT that nobody can act on."""
    with warnings.catch_warnings():
        # For Conv1D PEFT sets it right by itself, and says so for each layer.
        warnings.filterwarnings("ignore", message="fan_in_fan_out is set to")
        # PEFT asks transformers for a property under its old name.
        warnings.filterwarnings("ignore", message="`is_gradient_checkpointing` is deprecated")
        yield


def adapter_parameters(model: nn.Module) -> dict[str, nn.Parameter]:
    """The trainable LoRA factors, by name."""
    return {name: p for name, p in model.named_parameters() if p.requires_grad and "lora_" in name}


@contextmanager
def unwrapped_afterwards(model: nn.Module) -> Iterator[None]:
    """Wrap `model` inside: afterwards it is a plain module again, with the layers it had before.

    Layers, attributes, modes (train, requires_grad) and device come back, whatever happens inside;
    the weights never changed, since adapters and heads are trained beside them. Buffers (running
    statistics of batch norm) move in training: their values come back too.
    """
    modules = [(module, dict(module._modules), module.training) for module in model.modules()]
    frozen = [(parameter, parameter.requires_grad) for parameter in model.parameters()]
    buffers = {name: buffer.clone() for name, buffer in model.named_buffers()}
    attributes = set(vars(model))
    device = next(model.parameters()).device
    try:
        yield
    finally:
        for module, children, training in modules:
            module._modules = children
            module.training = training
        for name in set(vars(model)) - attributes:
            delattr(model, name)
        model.to(device)
        for parameter, requires_grad in frozen:
            parameter.requires_grad_(requires_grad)
        for name, value in buffers.items():
            model.get_buffer(name).copy_(value)
