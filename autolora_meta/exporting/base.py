"""The base model of an adapter: its class, its head, and a small input for it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import transformers
from peft import LoraConfig, PeftModel
from safetensors import safe_open
from torch import Tensor, nn
from transformers import AutoConfig, PreTrainedModel

from autolora_meta.errors import InputError
from autolora_meta.exporting.source import Source
from autolora_meta.exporting.stored import WEIGHTS
from autolora_meta.finetuning.loading import quiet_loading, reason
from autolora_meta.finetuning.models import locate
from autolora_meta.foundation.randomness import RandomState, replay, seeded

_CLASSES = {
    "SEQ_CLS": "AutoModelForSequenceClassification",
    "TOKEN_CLS": "AutoModelForTokenClassification",
    "CAUSAL_LM": "AutoModelForCausalLM",
    "SEQ_2_SEQ_LM": "AutoModelForSeq2SeqLM",
    "QUESTION_ANS": "AutoModelForQuestionAnswering",
    "FEATURE_EXTRACTION": "AutoModel",
}
_MARK = 7919  # a number of classes by which an output layer gives itself away


def load_base(source: Source, *, empty: bool = False) -> PreTrainedModel:
    """Load the base of an adapter with a head of the right shape, in eval mode on the CPU.

    Args:
        source: names the model, and holds the shape of its head.
        empty: build it without its weights, to look at its layers.

    Raises:
        InputError: nothing names the model, or it cannot be loaded.
    """
    options = source.base
    if options is None:
        raise InputError(f"{source.folder} does not say which model it adapts; name it with --base")
    settings: dict[str, Any] = {"revision": options.revision}
    settings["trust_remote_code"] = options.trust_remote_code
    try:
        place = locate(options.name)
        with quiet_loading(), replay(RandomState.snapshot()):
            config = _config(source, place, settings)
            name = model_class(source.config, config)
            if empty:
                return _skeleton(name, config, options.trust_remote_code)
            kind = getattr(transformers, name)
            model = kind.from_pretrained(
                place,
                config=config,
                **settings,
                dtype=getattr(torch, options.dtype),
                attn_implementation=options.attention,
                ignore_mismatched_sizes=True,  # the head comes with the adapter
                use_safetensors=True,  # the other form is a pickle
            )
    except Exception as error:  # whatever a broken file makes transformers stumble over
        raise InputError(
            f"the base of {source.folder}, '{options.name}', cannot be loaded: {reason(error)}; "
            "say where it is with --base (a folder, or an id of the hub)"
        ) from None
    return model.eval()


def adapted(base: PreTrainedModel, folder: Path) -> PeftModel:
    """Return the base with the adapter in `folder`, as stock PEFT loads it; `base` is used up.

    Raises:
        InputError: PEFT cannot load it on this base.
    """
    try:
        with seeded(0):  # some initialisations draw, and are not overwritten
            return PeftModel.from_pretrained(base, str(folder))
    except Exception as error:  # as in `load_base`
        raise InputError(
            f"PEFT cannot load {folder} on {type(base).__name__}: {reason(error)}; say with --base "
            "which model the adapter is for, or save it again with this version of PEFT"
        ) from None


def model_class(adapter: LoraConfig, model: Any = None) -> str:
    """Return the name of the transformers class that an adapter is for.

    Args:
        adapter: PEFT's configuration, which names the task or the class.
        model: configuration of the model, if it is beside the adapter.

    Raises:
        InputError: transformers has no such class.
    """
    kept = getattr(model, "architectures", None) or [None]
    mapped = (adapter.auto_mapping or {}).get("base_model_class")
    name = _CLASSES.get(adapter.task_type or "") or mapped or kept[0] or "AutoModel"
    if not hasattr(getattr(transformers, name, None), "from_pretrained"):
        raise InputError(
            f"the adapter is for a model of class {name}, which transformers does not have; only "
            "its ranks can be shown"
        )
    return name


def _config(source: Source, place: str, settings: Mapping[str, Any]) -> Any:
    """Return the configuration of the adapted model, with as many classes as the adapter's head."""
    if source.adapter is not None and (source.adapter / "config.json").is_file():
        trust = settings["trust_remote_code"]
        return AutoConfig.from_pretrained(source.adapter, trust_remote_code=trust)
    config = AutoConfig.from_pretrained(place, **settings)
    stored = _head_file(source)
    if stored is not None:
        classes = _classes(source, stored, config, settings["trust_remote_code"])
        if classes is not None and classes != config.num_labels:
            config.num_labels = classes
    return config


def _head_file(source: Source) -> Path | None:
    """Return the file that holds a trained head, if there is one: the adapter's or the search's."""
    if source.adapter is not None:
        return source.adapter / WEIGHTS if source.config.modules_to_save else None
    return source.trained


def _classes(source: Source, stored: Path, config: Any, trusted: bool) -> int | None:
    """Return the number of rows of a trained output layer, found with an empty model."""
    usual, config.num_labels = config.num_labels, _MARK
    skeleton = _skeleton(model_class(source.config), config, trusted)
    config.num_labels = usual
    outputs = {name for name, p in skeleton.named_parameters() if p.shape[0] == _MARK}
    with safe_open(stored, framework="pt") as file:
        for key in file.keys():  # noqa: SIM118
            plain = key.replace(".modules_to_save.default.", ".")  # as the search names it
            if any(plain.endswith(f".{name}") for name in outputs):
                return file.get_slice(key).get_shape()[0]
    return None


def _skeleton(kind: str, config: Any, trusted: bool) -> PreTrainedModel:
    model: Any = getattr(transformers, kind)
    with torch.device("meta"):
        if hasattr(model, "from_config"):  # which asks on the terminal if it is not told
            return model.from_config(config, trust_remote_code=trusted)
        return model(config)


def small_input(model: PreTrainedModel, adapter: LoraConfig) -> dict[str, Tensor]:
    """Return a few token ids, with those that the adapter trains, or one image of noise."""
    config: Any = model.config.get_text_config()
    if model.main_input_name == "pixel_values":
        side = model.config.image_size
        height, width = side if isinstance(side, list | tuple) else (side, side)
        generator = torch.Generator().manual_seed(0)
        image = torch.randn(1, model.config.num_channels, height, width, generator=generator)
        return {"pixel_values": image.to(model.dtype)}
    trained = adapter.trainable_token_indices or []
    if isinstance(trained, Mapping):
        trained = [token for tokens in trained.values() for token in tokens]
    ids = torch.tensor([*range(10, 18), *trained[:8], *(adapter.alora_invocation_tokens or []), 9])
    ids = ids.remainder(config.vocab_size)
    end = getattr(config, "eos_token_id", None)
    if isinstance(end, int) and 0 <= end < config.vocab_size:
        ids = torch.cat([ids, torch.tensor([end])])  # T5's classifiers look for it
    batch = {"input_ids": ids[None], "attention_mask": torch.ones_like(ids)[None]}
    if config.is_encoder_decoder and model.can_generate():
        batch["decoder_input_ids"] = ids[None]
    return batch


@torch.no_grad()
def outputs(model: nn.Module, batch: Mapping[str, Tensor]) -> Tensor:
    """Return the logits, or the hidden states of a model without a head, in float32."""
    made = model.eval()(**batch)
    return (made.logits if hasattr(made, "logits") else made[0]).float()
