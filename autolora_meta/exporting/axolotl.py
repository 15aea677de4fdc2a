"""Learned ranks in somebody's own axolotl configuration: a copy of it, with other LoRA keys."""

import re
from collections.abc import Mapping
from typing import Any

import yaml
from peft import LoraConfig

from autolora_meta.errors import InputError
from autolora_meta.exporting.other_tools import AXOLOTL, refuse_broken_alphas, settings
from autolora_meta.foundation.yaml_text import yaml_content

# PEFT's options that say which layers get which rank; the other LoRA keys stay theirs.
_OF_RANKS = ("r", "lora_alpha", "target_modules", "rank_pattern", "alpha_pattern")
# Keys that would change which layers are adapted, or their scale, beside the patterns.
_BESIDE = ("peft_use_dora", "peft_use_rslora", "peft_layers_to_transform", "peft_layers_pattern")
_BESIDE += ("lora_target_parameters", "peft_layer_replication", "lora_model_dir", "relora")
_KEY = re.compile(r"^(?P<quote>['\"]?)(?P<key>[\w.-]+)(?P=quote)\s*:")


def read_axolotl(text: str, name: str) -> dict[str, Any]:
    """Return an axolotl configuration of LoRA.

    Args:
        text: of its file.
        name: of its file, for messages.

    Raises:
        InputError: it is no YAML mapping, adapts by another method than LoRA, or has a key that
            learned ranks do not go with.
    """
    given = yaml_content(text, name)
    if not isinstance(given, dict) or not given.get("base_model"):
        raise InputError(f"{name} is no configuration of axolotl: it has no base_model")
    if given.get("adapter") not in (None, "lora", "qlora"):
        raise InputError(
            f"{name} has the adapter {given['adapter']!r}, and ranks are those of LoRA; set "
            "adapter to lora or qlora"
        )
    if beside := [key for key in _BESIDE if given.get(key)]:
        raise InputError(
            f"{name} sets {', '.join(beside)}, which learned ranks do not go with; leave "
            f"{'them' if len(beside) > 1 else 'it'} out"
        )
    return given


def with_ranks(text: str, config: LoraConfig, name: str = "the configuration") -> str:
    """Return the text of an axolotl configuration with the ranks of `config`.

    lora_r, lora_alpha, lora_target_modules, lora_rank_pattern and lora_alpha_pattern are written
    anew, at the end; lora_target_linear goes, which would adapt all other layers too. Every other
    line stays as it is.

    Args:
        text: of their file.
        config: with ranks, scale and layers.
        name: of their file, for messages.

    Raises:
        InputError: as of `read_axolotl`; an alpha is no whole number; or the keys of the file do
            not each begin a line.

    Source: `LoraConfig` in axolotl/utils/schemas/peft.py of axolotl 0.19.
    """
    before = read_axolotl(text, name)
    refuse_broken_alphas(config)
    given = settings(config)
    ours = {AXOLOTL[key]: given[key] for key in _OF_RANKS if key in given}
    gone = {AXOLOTL[key] for key in _OF_RANKS} | {"lora_target_linear"}
    ours = {**({} if before.get("adapter") else {"adapter": "lora"}), **ours}
    body = yaml.safe_dump(ours, sort_keys=False, width=1000)
    kept = _without(text, gone | ours.keys()).rstrip()
    made = f"{kept}\n\n# Ranks by autolora-meta: these layers, each at its own.\n{body}"
    wanted = {key: value for key, value in before.items() if key not in gone} | ours
    try:
        whole = yaml_content(made, name) == wanted
    except InputError:
        whole = False
    if not whole:
        raise InputError(
            f"{name} cannot be changed line by line; begin each of its keys on a line of its own, "
            "without braces around them"
        )
    return made


def _without(text: str, keys: set[str]) -> str:
    """Return the text without some keys of its outermost mapping."""
    kept, dropping = [], False
    for line in text.splitlines(keepends=True):
        if (match := _KEY.match(line)) is not None:
            dropping = match["key"] in keys
        elif line.startswith("#"):
            dropping = False
        if not dropping:
            kept.append(line)
    return "".join(kept)


def search_settings(given: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Return the settings of a search (`RunConfig`) that an axolotl configuration amounts to.

    The model, texts, targets, scale and batch size are theirs. The search has twice their rank to
    spend their number of parameters on.

    Args:
        given: what `read_axolotl` returned.
        name: of the file, for messages.

    Raises:
        InputError: rank or alpha are missing, alpha is no multiple of the rank, the rows are not
            plain texts (type `completion`), or the targets are a regular expression.
    """
    rank, alpha = given.get("lora_r"), given.get("lora_alpha")
    if not (isinstance(rank, int) and isinstance(alpha, int | float) and rank > 0 and alpha > 0):
        raise InputError(f"{name} needs lora_r and lora_alpha; given {rank} and {alpha}")
    if not float(alpha / rank).is_integer():
        raise InputError(
            f"{name} has lora_alpha {alpha:g} and lora_r {rank}, and axolotl takes whole numbers "
            f"for the alpha of each layer, which {alpha / rank:g} times its rank is not always. "
            "Make lora_alpha a multiple of lora_r; or search with a configuration of autolora-meta "
            "and train from its start (autolora-meta export RUN --to start; lora_model_dir), which "
            "holds any alpha"
        )
    targets = given.get("lora_target_modules")
    if given.get("lora_target_linear") or targets == "all-linear":
        targets = "all-linear"
    elif not isinstance(targets, list):
        raise InputError(
            f"{name} has lora_target_modules {targets!r}; a search takes a list of names, or "
            "lora_target_linear: true"
        )
    batch = given.get("micro_batch_size") or 1
    model: dict[str, Any] = {"name": given["base_model"]}
    if given.get("revision_of_model"):
        model["revision"] = given["revision_of_model"]
    return {
        "model": model,
        "task": {"type": "causal-lm", "max_length": given.get("sequence_len") or 512},
        "data": _rows(given.get("datasets"), name),
        "lora": {
            "k": 2 * rank,
            "scale": alpha / rank,
            "targets": targets,
            "dropout": given.get("lora_dropout") or 0.0,
        },
        "search": {"batch_size": batch, "outer_batch_size": batch},
        "ranks": {"budget": f"uniform:{rank}"},
        **({"seed": given["seed"]} if given.get("seed") is not None else {}),
    }


def _rows(datasets: Any, name: str) -> dict[str, Any]:
    first = datasets[0] if isinstance(datasets, list) and len(datasets) == 1 else None
    kind = first.get("type") if isinstance(first, dict) else None
    if not isinstance(first, dict) or kind != "completion":
        found = f"type {kind!r}" if first else f"{len(datasets or ())} datasets"
        raise InputError(
            f"{name} has {found}, and axolotl alone knows how it makes texts of them; a search "
            "reads one dataset of type completion. For others write a configuration of "
            "autolora-meta (docs/tasks.md), and give its run with --run"
        )
    files = first.get("data_files")
    files = files[0] if isinstance(files, list) and len(files) == 1 else files
    rows = {"source": files or first.get("path"), "text": first.get("field") or "text"}
    return rows | ({"name": first["name"]} if first.get("name") else {})
