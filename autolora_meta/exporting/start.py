"""Start: an adapter with the ranks of a source, for other tools to train from."""

import copy
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import torch
from peft import LoraConfig, PeftModel, get_peft_model_state_dict
from safetensors.torch import save
from torch import Tensor
from transformers import PreTrainedModel

from autolora_meta.errors import InputError
from autolora_meta.exporting.base import adapted, outputs, small_input
from autolora_meta.exporting.limits import SUBTRACTED
from autolora_meta.exporting.source import Source
from autolora_meta.exporting.stored import FACTORS, PREFIX, WEIGHTS, read_adapter
from autolora_meta.finetuning.architectures import model_type
from autolora_meta.finetuning.lora import with_adapter
from autolora_meta.finetuning.new_ranks import with_ranks
from autolora_meta.finetuning.start import Start
from autolora_meta.foundation import manifest
from autolora_meta.foundation.randomness import seeded
from autolora_meta.ranks.pattern import RankPattern

Weights = Literal["none", "search"]

_SAVED = re.compile(r"^base_model\.model\.(?P<module>.+)\.modules_to_save\.default\.")


def write_start(
    source: Source,
    place: Path,
    base_of: Callable[[], PreTrainedModel],
    *,
    weights: Weights = "none",
    seed: int = 0,
) -> str:
    """Write an adapter to start from, load it again and compare.

    With weights `none` it is what PEFT makes at these ranks: A by PEFT's default draw, B = 0, so
    that the model is still its base. With `search` it is what the search trained, cut to the ranks
    (`finetuning.start.Start`), and its head.

    Args:
        source: names ranks and base.
        place: the folder to write.
        base_of: gives a fresh base.
        weights: none or search.
        seed: of A, and of a head that nothing has trained.

    Returns:
        A sentence about what was compared.

    Raises:
        InputError: the source has an initialisation that is not PEFT's default, or `search` is
            asked for and it holds no search that trained these layers.
        RuntimeError: what was written is another adapter; it must not be kept.
    """
    trained = trained_start(source, needed=weights == "search")
    with seeded(seed):  # a head that does not come with the base
        base, fresh = base_of(), base_of()
    batch = small_input(base, source.config)
    before = outputs(base, batch)
    model = with_adapter(base, _config(source, trained), seed)
    if weights == "search":
        assert trained is not None
        trained.put_into(model)
    expected = outputs(model, batch)
    if weights == "none" and not _close(expected, before):
        raise RuntimeError("an adapter with B = 0 changes the logits of its base; it is not kept")
    # Else PEFT asks the hub whether the base's vocabulary was resized.
    model.save_pretrained(str(place), save_embedding_layers=False)
    written: Any = model.peft_config["default"]
    if written.modules_to_save:  # number and names of the classes
        settings: Any = model.get_base_model().config
        settings.save_pretrained(place)
    _refuse_other_ranks(source, place)
    if not _close(outputs(adapted(fresh, place), batch), expected):
        raise RuntimeError("the start, loaded again, gives other logits; it is not kept")
    if weights == "none":
        return "loaded again: the same ranks and scales, and the logits of the base (B is 0)"
    return "loaded again: the same ranks, scales and logits as what the search trained"


def save_cut(model: PeftModel, pattern: RankPattern, folder: Path) -> None:
    """Write what a PEFT model has trained, each layer's update cut to its rank, as an adapter.

    Args:
        model: has plain LoRA, named "default", on the layers of `pattern`, of at least its ranks.
        pattern: ranks and scale; names as in the base model.
        folder: made, with adapter_config.json and adapter_model.safetensors.

    Raises:
        RuntimeError: what was written, read again, has other ranks.
    """
    base: Any = model.get_base_model()
    layers: list[Any] = [base.get_submodule(name) for name in pattern.names]
    factors = [(x.lora_A["default"].weight, x.lora_B["default"].weight) for x in layers]
    ones = torch.ones(len(layers), max(a.shape[0] for a, _ in factors))
    cut = Start.of(pattern.names, ones, factors, {}, scale=pattern.scale, seed=0)
    state: dict[str, Any] = get_peft_model_state_dict(model, save_embedding_layers=False)
    for (name, rank), (a, b) in zip(pattern, factors, strict=True):
        for end, new, old in (
            (FACTORS[0][0], cut.right[name][:rank], a),
            (FACTORS[0][1], cut.left[name][:, :rank], b),
        ):
            key = f"{PREFIX}{name}{end}"
            shape = (*new.shape, *old.shape[2:]) if end == FACTORS[0][1] else (rank, *old.shape[1:])
            del state[key]
            if rank:
                state[key] = new.reshape(shape).to(old.dtype)
    config: Any = model.peft_config["default"]
    made = with_ranks(config, pattern, model_type(base))
    made.inference_mode = True
    made.save_pretrained(str(folder))
    kept = {key: value.detach().cpu().contiguous() for key, value in state.items()}
    (folder / WEIGHTS).write_bytes(save(kept, metadata={"format": "pt"}))
    if dict(read_adapter(folder).pattern) != {name: rank for name, rank in pattern if rank}:
        raise RuntimeError(f"{folder}, read again, holds other ranks")


def trained_start(source: Source, *, needed: bool) -> Start | None:
    """Return what the search of a run trained; None if there is none and it is not needed.

    Raises:
        InputError: there is none and it is needed, or it is damaged.
    """
    if (place := source.trained) is not None:
        manifest.refuse_damaged(place.parent.parent, "search again", f"search/{place.name}")
        return Start.load(place)
    if needed:
        raise InputError(
            f"{source.folder} holds nothing that a search trained (search/start.safetensors); "
            "give the folder of a run or a search, or leave --weights search out for an untrained "
            "adapter"
        )
    return None


def _config(source: Source, trained: Start | None) -> LoraConfig:
    """Return the source's configuration, to be trained from PEFT's usual start."""
    config = copy.deepcopy(source.config)
    if config.init_lora_weights in SUBTRACTED or config.use_dora:
        kind = "DoRA" if config.use_dora else f"init_lora_weights '{config.init_lora_weights}'"
        raise InputError(
            f"--to start cannot hold this adapter: {kind} needs the base's weights to start from; "
            "export its LoraConfig (--to trainer), from which PEFT makes that start"
        )
    config.init_lora_weights, config.inference_mode = True, False
    if source.adapter is None and trained is not None:
        found = {match["module"] for name in trained.head if (match := _SAVED.match(name))}
        config.modules_to_save = sorted(found) or None
    return config


def _refuse_other_ranks(source: Source, place: Path) -> None:
    written = read_adapter(place)
    asked = {name: rank for name, rank in source.pattern if rank > 0}
    low, high = source.scales
    if dict(written.pattern) != asked or not all(
        low * (1 - 1e-6) <= scale <= high * (1 + 1e-6) for scale in written.scales
    ):
        raise RuntimeError(f"{place.name}, read again, holds other ranks or scales; it is not kept")


def _close(one: Tensor, other: Tensor) -> bool:
    return bool((one - other).abs().max() <= 1e-4 * max(1.0, float(other.abs().max())))
