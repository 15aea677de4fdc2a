"""LoRA on a model: the cost of a rank in each layer, and the model wrapped for a search."""

import math
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from peft.tuners.lora import LoraLayer
from peft.utils import ModulesToSaveWrapper
from pydantic import Field
from torch import nn
from transformers.pytorch_utils import Conv1D

from autolora_meta.errors import InputError
from autolora_meta.finetuning.architectures import model_type
from autolora_meta.finetuning.heads import refuse_other_heads, train_in_float32
from autolora_meta.finetuning.lora_config import lora_config
from autolora_meta.finetuning.staying import moved
from autolora_meta.foundation.options import Options
from autolora_meta.foundation.randomness import RandomState, replay
from autolora_meta.ranks.pattern import RankPattern


class LoraOptions(Options):
    """The adapters of the search."""

    k: int = Field(
        default=8,
        ge=1,
        description="Rank-1 components of each layer in the search, its largest rank.",
    )
    scale: float = Field(
        default=2.0,
        gt=0,
        description="The constant c in front of B A, the same in search and retraining at any "
        "rank: PEFT's lora_alpha is c times the rank.",
    )
    targets: str | tuple[str, ...] = Field(
        default="all-linear",
        description="Layers to adapt: all-linear (all but the head), default (PEFT's choice for "
        "the architecture, else query and value), or names, such as query or a whole path.",
    )
    exclude: tuple[str, ...] = Field(
        default=(),
        description="Names of layers among the targets that are not adapted.",
    )
    dropout: float = Field(
        default=0.0, ge=0, lt=1, description="Dropout on the input of the adapters."
    )


def layer_costs(model: nn.Module, names: Sequence[str]) -> tuple[int, ...]:
    """Return the trainable parameters that one rank costs in each layer. (L,)

    A and B of rank 1 hold in + out numbers; for a convolution in * kernel height * width + out.
    """
    return tuple(_cost(model.get_submodule(name)) for name in names)


def _cost(layer: nn.Module) -> int:
    if isinstance(layer, nn.Conv2d):
        return layer.in_channels * math.prod(layer.kernel_size) + layer.out_channels
    if isinstance(layer, Conv1D):
        return layer.nx + layer.nf
    assert isinstance(layer, nn.Linear)
    return layer.in_features + layer.out_features


def refuse_narrow_layers(model: nn.Module, names: Iterable[str], k: int) -> None:
    """Refuse layers with a weight whose smaller side, the largest rank of an update, is below k.

    Raises:
        InputError: there is such a layer.
    """
    limits = {name: largest_rank(model.get_submodule(name)) for name in names}
    narrow = {name: limit for name, limit in limits.items() if limit < k}
    if narrow:
        name = min(narrow, key=narrow.__getitem__)
        raise InputError(
            f"lora.k is {k}, and {name} can hold rank {narrow[name]} at most (so do "
            f"{len(narrow)} of {len(limits)} layers); give k of at most {narrow[name]}, or leave "
            "them out with lora.exclude"
        )


def largest_rank(layer: nn.Module) -> int:
    """Return the smaller side of the weight; a convolution's is out x (in * height * width)."""
    if isinstance(layer, nn.Conv2d):
        return min(layer.out_channels, layer.in_channels * math.prod(layer.kernel_size))
    assert isinstance(layer, nn.Linear | Conv1D)
    return min(layer.weight.shape)


def maps_linearly(layer: nn.Linear) -> bool:
    """Return whether a layer computes x W^T + b; a class with its own forward is tested."""
    own = type(layer).__module__.startswith("transformers.models.")
    if not own or type(layer).forward is nn.Linear.forward:
        return True
    x = torch.ones(1, layer.in_features, dtype=layer.weight.dtype, device=layer.weight.device)
    try:
        with torch.no_grad():
            given: object = layer(x)
    except (RuntimeError, TypeError, ValueError, IndexError):
        return False
    wanted = nn.functional.linear(x, layer.weight, layer.bias)
    return isinstance(given, torch.Tensor) and (
        given.shape == wanted.shape and torch.allclose(given, wanted, rtol=1e-3, atol=1e-5)
    )


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
        head: names of the modules that are trained in full.
    """
    ranks, costs = (options.k,) * len(names), layer_costs(model, names)
    pattern = RankPattern(tuple(names), ranks, costs, k=options.k, scale=options.scale)
    config = lora_config(
        pattern,
        dropout=options.dropout,
        modules_to_save=head or None,
        architecture=model_type(model),
    )
    wrapped = with_adapter(model, config, seed)
    refuse_other_layers(wrapped, pattern)
    return wrapped


def with_adapter(model: nn.Module, config: LoraConfig, seed: int) -> PeftModel:
    """Call `get_peft_model` with factors drawn from `seed`; keep the random state outside.

    Raises:
        InputError: PEFT refuses the configuration.
    """
    refuse_other_heads(model, config)
    with replay(RandomState.snapshot()), quiet_peft():
        torch.manual_seed(seed)
        try:
            wrapped = get_peft_model(model, config)  # pyright: ignore[reportArgumentType]
        except ValueError as error:
            raise InputError(
                f"PEFT cannot put LoRA on this model: {error}; leave these layers out "
                "(lora.exclude), or name others in lora.targets"
            ) from None
    assert isinstance(wrapped, PeftModel)
    for module in wrapped.modules():
        if isinstance(module, ModulesToSaveWrapper):
            train_in_float32(module.modules_to_save["default"])
    return wrapped


def refuse_other_layers(wrapped: PeftModel, pattern: RankPattern) -> None:
    """Refuse a model in which PEFT made other layers, ranks (of the tensors) or scales.

    Raises:
        InputError: PEFT adapts other layers, or gives other ranks or another scale.
    """
    asked = {name: (rank, pattern.scale) for name, rank in pattern if rank > 0}
    made: dict[str, tuple[Any, float]] = {}
    for name, layer in wrapped.get_base_model().named_modules():
        if isinstance(layer, LoraLayer):
            factors: Any = layer.lora_A
            rank = factors["default"].weight.shape[0] if "default" in factors else 0
            made[name] = rank, layer.scaling.get("default", 0.0)
    wrong = [
        f"{name}: rank {rank} at scale {scale:g} asked, {made[name][0]} at {made[name][1]:g} made"
        if name in made
        else f"{name}: rank {rank} asked, no adapter made"
        for name, (rank, scale) in asked.items()
        if name not in made
        or made[name][0] != rank
        or not math.isclose(made[name][1], scale, rel_tol=1e-6)
    ]
    wrong += [
        f"{name}: no adapter asked, rank {made[name][0]} made"
        for name in made.keys() - asked.keys()
    ]
    if wrong:
        raise InputError(
            f"PEFT made another adapter than was asked for, in {len(wrong)} layers: "
            f"{'; '.join(sorted(wrong)[:5])}; leave these layers out (lora.exclude)"
        )


@contextmanager
def quiet_peft() -> Iterator[None]:
    """Run the body without those warnings of PEFT that nobody can act on."""
    with warnings.catch_warnings():
        # For Conv1D PEFT sets it right by itself, and says so for each layer.
        warnings.filterwarnings("ignore", message="fan_in_fan_out is set to")
        # PEFT asks transformers for a property under its old name.
        warnings.filterwarnings("ignore", message="`is_gradient_checkpointing` is deprecated")
        yield


def adapter_parameters(model: nn.Module) -> dict[str, nn.Parameter]:
    """Return the trainable LoRA factors, by name."""
    return {name: p for name, p in model.named_parameters() if p.requires_grad and "lora_" in name}


@contextmanager
def unwrapped_afterwards(model: nn.Module) -> Iterator[None]:
    """Run a body that wraps `model`, then make it a plain module with its own layers again.

    Layers, attributes, modes (train, requires_grad) and device are restored, also when the body
    raises. The weights never change, since adapters and heads are trained beside them. The values
    of buffers, such as running statistics, are restored too.
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
        moved(model, device)
        for parameter, requires_grad in frozen:
            parameter.requires_grad_(requires_grad)
        for name, value in buffers.items():
            model.get_buffer(name).copy_(value)
