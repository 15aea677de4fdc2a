"""From RankPattern to PEFT's LoraConfig."""

import re
from collections import Counter
from collections.abc import Sequence

from peft import LoraConfig

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
