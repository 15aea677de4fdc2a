"""Arrival: before a search, gradients are shown to reach every gate and every factor."""

import logging
from collections.abc import Callable, Sequence
from typing import Any

import torch
from peft import PeftModel
from torch import Tensor

from autolora_meta.bilevel.gating import Gates, lora_factors
from autolora_meta.bilevel.states import restored
from autolora_meta.errors import InputError
from autolora_meta.foundation.randomness import RandomState, replay
from autolora_meta.ranks.place import Place, alike

LOG = logging.getLogger("autolora_meta")
TRIES = 8  # batches, each with other random numbers, until every layer was reached
_STD = 0.02  # of B while gradients are shown: at B = 0 none reaches A and the gates


def refuse_unreached(
    model: PeftModel, gates: Gates, loss: Callable[[Any], Tensor], batch: Callable[[], Any]
) -> None:
    """Refuse a search in which some gates or factors would never move.

    One forward and backward, and more only where a layer was not reached: a random layer drop may
    have skipped it, or no token may have come to an expert. B is not 0 meanwhile. Weights, buffers
    and random state are as before afterwards.

    Args:
        model: wrapped and gated, in train mode.
        gates: of its layers.
        loss: batch -> the training loss.
        batch: gives a batch, at each call another.

    Raises:
        InputError: no gradient reaches a layer, and it is no expert among others.
    """
    factors = lora_factors(model, gates.names)
    reached = torch.zeros(len(factors), dtype=torch.bool)
    moving = reached.clone()
    with restored([b for _, b in factors], model), replay(RandomState.snapshot()):
        for _, b in factors:
            torch.nn.init.normal_(b, std=_STD)
        for _ in range(TRIES):
            there, not_zero = _reached(gates, factors, loss(batch()))
            reached, moving = reached | there, moving | not_zero
            if reached.all():
                break
    named = list(zip(gates.names, reached.tolist(), moving.tolist(), strict=True))
    _refuse(model, [name for name, there, _ in named if not there], gates.names)
    if still := [name for name, there, moves in named if there and not moves]:
        LOG.warning(
            "the gradient of %d of %d layers is exactly 0 on the first batch, for example of %s: "
            "their ranks will say nothing. Attention over one token does this, dead units, or "
            "float16",
            *(len(still), len(named), still[0]),
        )


def _reached(
    gates: Gates, factors: list[tuple[Tensor, Tensor]], loss: Tensor
) -> tuple[Tensor, Tensor]:
    """Which layers the loss depends on, and which gradients are not 0 in A, B and gates. (L,)"""
    if not loss.requires_grad:
        nothing = torch.zeros(len(factors), dtype=torch.bool)
        return nothing, nothing
    fixed = gates.constraint == "softmax" and gates.competing == 1  # one gate, which is always 1
    try:
        found = torch.autograd.grad(
            loss, [gates.logits, *(w for pair in factors for w in pair)], allow_unused=True
        )
    except RuntimeError as error:
        if "use_reentrant" not in str(error):
            raise
        raise InputError(_REENTRANT) from None
    pairs = list(zip(found[1::2], found[2::2], strict=True))
    there = torch.tensor([a is not None and b is not None for a, b in pairs])
    of_gates = torch.zeros_like(gates.logits) if found[0] is None else found[0]
    gated = (of_gates.abs().amax(-1) > 0).cpu() | fixed  # (L,)
    sizes = [0.0 if a is None or b is None else min(_size(a), _size(b)) for a, b in pairs]
    return there, gated & (torch.tensor(sizes) > 0)


def _size(gradient: Tensor) -> float:
    return float(gradient.abs().amax())


_REENTRANT = (
    "gradient checkpointing of this model is reentrant, and gradients would not reach all gates; "
    "switch it on with gradient_checkpointing_kwargs={'use_reentrant': False}, or give "
    "use_reentrant=False to torch.utils.checkpoint"
)


def _refuse(model: PeftModel, missed: list[str], names: Sequence[str]) -> None:
    """Refuse layers that were not reached; warn of experts to which no token came."""
    kinds = {alike(name) for name in names if name not in missed}
    experts = [name for name in missed if alike(name) in kinds and "expert" in name]
    lost = [name for name in missed if name not in experts]
    if experts:
        LOG.warning(
            "no token of %d batches reached %d layers of experts, for example %s: their gates "
            "cannot move, and their ranks say nothing. Take larger batches",
            *(TRIES, len(experts), experts[0]),
        )
    if not lost:
        return
    if drop := _layer_drop(model):
        raise InputError(
            f"no gradient reached {len(lost)} layers in {TRIES} tries, for example {lost[0]}: the "
            f"model drops layers at random ({drop}). Set it to 0 for the search"
        )
    if any(getattr(module, "gradient_checkpointing", False) for module in model.modules()):
        raise InputError(f"no gradient reaches {len(lost)} layers, such as {lost[0]}: {_REENTRANT}")
    reached = [name for name in names if name not in missed]
    out = sorted({_ending(name, reached) for name in lost})
    raise InputError(
        f"no gradient reaches {len(lost)} of {len(names)} layers, for example {lost[0]}: the model "
        "computes them without gradients, detaches them, or does not use what they give. Leave "
        f"them out: lora.exclude: [{', '.join(out)}]"
    )


def _ending(name: str, others: Sequence[str]) -> str:
    """How to name a layer, its likes in other blocks with it, but none of the others."""
    parts = name.split(".")
    endings = [Place.of(name).kind, *(".".join(parts[i:]) for i in range(len(parts))[::-1])]
    return next(e for e in endings if not any(f".{other}".endswith(f".{e}") for other in others))


def _layer_drop(model: PeftModel) -> str:
    """The settings by which layers are dropped at random, as `name 0.05`."""
    config = getattr(model.get_base_model(), "config", None)
    settings = {} if config is None else vars(config)
    found = {key: value for key, value in settings.items() if "layerdrop" in key and value}
    return ", ".join(f"{key} {value}" for key, value in found.items())
