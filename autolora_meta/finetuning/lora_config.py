"""From RankPattern to PEFT's LoraConfig, and back from a model with an adapter."""

import re
from collections import Counter
from collections.abc import Sequence

from peft import LoraConfig, PeftModel
from peft.tuners.lora import LoraLayer
from torch import nn

from autolora_meta.errors import InputError
from autolora_meta.finetuning.architectures import expert_names
from autolora_meta.ranks.pattern import RankPattern


def lora_config(
    pattern: RankPattern,
    *,
    dropout: float = 0.0,
    task_type: str | None = None,
    modules_to_save: Sequence[str] | None = None,
    architecture: str | None = None,
) -> LoraConfig:
    """Return the PEFT configuration that gives each layer its rank, at one constant scale.

    `rank_pattern` and `alpha_pattern` hold every layer of rank above 0 under `^` + its escaped full
    name, with alpha_i = c * r_i, so that alpha_i / r_i is c at any rank. `target_modules` is one
    regular expression of full names: PEFT matches the names of a list as suffixes too, so a list
    with `query` would also adapt `decoder.query`. If PEFT makes such a list itself
    (`expert_names`), `exclude_modules` names all other layers.

    Args:
        pattern: ranks of the layers, and c.
        dropout: dropout probability on the input of the adapters.
        task_type: PEFT's task type, such as "SEQ_CLS"; None for a plain module.
        modules_to_save: modules trained and saved whole, such as the head.
        architecture: `model_type` of a transformers model.

    Raises:
        InputError: all ranks are 0.

    Example:
        >>> pattern = RankPattern(("a.q", "a.v"), (2, 0), (64, 64), k=4, scale=2.0)
        >>> config = lora_config(pattern)
        >>> config.target_modules, config.rank_pattern, config.alpha_pattern
        ('^(?:a\\\\.q)$', {'^a\\\\.q': 2}, {'^a\\\\.q': 4})
    """
    ranks = {name: rank for name, rank in pattern if rank > 0}
    if not ranks:
        raise InputError(
            f"all {len(pattern)} ranks are 0, so there is no adapter to make; "
            "raise the budget or min_rank"
        )
    escaped = {name: re.escape(name) for name in ranks}
    alphas = {name: plain(pattern.scale * rank) for name, rank in ranks.items()}  # alpha_i = c r_i
    common = Counter(ranks.values()).most_common(1)[0][0]
    names = f"(?:{'|'.join(escaped.values())})$"
    return LoraConfig(
        r=common,
        lora_alpha=plain(pattern.scale * common),  # pyright: ignore[reportArgumentType]
        target_modules=f"^{names}",
        exclude_modules=f"^(?!{names}).*" if expert_names(architecture) else None,
        rank_pattern={f"^{escaped[name]}": rank for name, rank in ranks.items()},
        alpha_pattern={f"^{escaped[name]}": alpha for name, alpha in alphas.items()},
        lora_dropout=dropout,
        task_type=task_type,  # pyright: ignore[reportArgumentType]
        modules_to_save=None if modules_to_save is None else list(modules_to_save),
    )


def plain(number: float) -> float:
    """Return 16.0 as 16, as PEFT and other readers of its files expect; 0.5 unchanged."""
    return int(number) if float(number).is_integer() else number


def pattern_of(
    model: nn.Module, adapter: str = "default", scale: float | None = None
) -> RankPattern:
    """Return the ranks of an adapter in a model, whoever made it.

    Layers without the adapter are left out. k is the largest rank.

    Args:
        model: a `PeftModel`, or a module into which PEFT injected LoRA layers.
        adapter: the name of the adapter in the model.
        scale: the constant c of the pattern; None: the alpha / r that all layers share.

    Raises:
        InputError: no layer carries the adapter, or its layers differ in scale and none was given.
    """
    base = model.get_base_model() if isinstance(model, PeftModel) else model
    layers = {
        name: module
        for name, module in base.named_modules()
        if isinstance(module, LoraLayer) and adapter in module.r
    }
    if not layers:
        found = sorted({a for m in base.modules() if isinstance(m, LoraLayer) for a in m.r})
        raise InputError(
            f"no LoRA layer carries the adapter '{adapter}'; adapters found: "
            f"{', '.join(found) or 'none'}"
        )
    if scale is None:
        scale = _common_scale({name: layer.scaling[adapter] for name, layer in layers.items()})
    ranks = tuple(layer.r[adapter] for layer in layers.values())
    costs = tuple(_cost(layer, adapter) for layer in layers.values())
    return RankPattern(tuple(layers), ranks, costs, k=max(ranks), scale=scale)


def _common_scale(scales: dict[str, float]) -> float:
    low, high = min(scales, key=scales.__getitem__), max(scales, key=scales.__getitem__)
    if scales[high] - scales[low] > 1e-9 * abs(scales[high]):
        raise InputError(
            f"the layers of this adapter differ in scale, alpha / r: {scales[low]:g} in '{low}', "
            f"{scales[high]:g} in '{high}'; a rank pattern holds one, so say which with scale="
        )
    return float(scales[low])


def _cost(layer: LoraLayer, adapter: str) -> int:
    """Return the parameters of one rank: the sizes of the factors over the rank."""
    if adapter in layer.lora_A:
        a, b = layer.lora_A[adapter].weight, layer.lora_B[adapter].weight
    else:
        a, b = layer.lora_embedding_A[adapter], layer.lora_embedding_B[adapter]
    return (a.numel() + b.numel()) // layer.r[adapter]  # pyright: ignore[reportCallIssue]
