"""The head: the new modules of a model, trained in full and stored in float32."""

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from peft import LoraConfig
from torch import nn
from transformers import AutoModel, PreTrainedModel

from autolora_meta.errors import InputError

# What transformers calls a head; asked only of a model whose base is no class of its own.
_HEADS = ("classifier", "score", "projector", "qa_outputs", "head", "fc")
# What PEFT adds to the modules to train in full, for the tasks whose models have them.
_PEFT_HEADS, _PEFT_TASKS = ("classifier", "score"), ("SEQ_CLS", "TOKEN_CLS")
# Modules that PEFT puts into each layer.
_MADE = ("base_layer", "lora_A", "lora_B", "lora_dropout", "lora_embedding_A", "lora_embedding_B")


def head_modules(model: nn.Module) -> tuple[str, ...]:
    """Return the names of the modules that make up the head of a transformers model.

    These are the modules beside the pretrained base, and a pooler inside it that the checkpoint
    did not hold. The output embeddings of a language model are pretrained, and often are the input
    embeddings too: modules that are or hold them are not part of the head. Empty for a base without
    a head, and for a module that is not of transformers.

    >>> head_modules(bert_for_sequence_classification)  # doctest: +SKIP
    ('classifier',)
    """
    if not isinstance(model, PreTrainedModel):
        return ()
    base = _base_parts(model)
    outputs = model.get_output_embeddings()
    beside = tuple(
        name
        for name, child in model.named_children()
        if base
        and name not in base
        and list(child.parameters())
        and not (outputs is not None and any(part is outputs for part in child.modules()))
    )
    new = new_parameters(model)
    poolers = tuple(
        name
        for name, module in model.named_modules()
        if name.rpartition(".")[2] == "pooler"
        and name not in beside
        and not _is_in(name, beside)
        and (held := {f"{name}.{own}" for own, _ in module.named_parameters()})
        and held <= new
    )
    return (*poolers, *beside)


def _base_parts(model: PreTrainedModel) -> frozenset[str]:
    """Return the names of the children that make up the pretrained base; empty for a bare base.

    Most classes hold their base as one child. If there is none (CLIP, SigLIP and Whisper take parts
    of it), the base is what the class of the bare model has too.
    """
    prefix = model.base_model_prefix
    if prefix and hasattr(model, prefix):
        return frozenset({prefix})
    children = {name for name, _ in model.named_children()}
    try:
        with torch.device("meta"):
            # Not left open: transformers would ask on the terminal.
            bare = AutoModel.from_config(model.config, trust_remote_code=False)
    except (ValueError, TypeError, KeyError, AttributeError, ImportError, RuntimeError):
        return frozenset(children - set(_HEADS)) if children & set(_HEADS) else frozenset()
    if type(bare) is type(model):
        return frozenset()
    return frozenset(children & {name for name, _ in bare.named_children()})


def new_parameters(model: nn.Module) -> set[str]:
    """Return the names of parameters that the checkpoint of a loaded model lacked.

    transformers marks the parameters that it has read. Empty if none is marked: the model was made
    from its configuration, or copied.
    """
    marked = {
        name: getattr(parameter, "_is_hf_initialized", False)
        for name, parameter in model.named_parameters()
    }
    return {name for name, read in marked.items() if not read} if any(marked.values()) else set()


def refuse_untrained(absent: Iterable[str], head: Sequence[str], model: str) -> None:
    """Refuse parameters outside the head that the checkpoint lacked: they would be random.

    Args:
        absent: names of parameters that the checkpoint lacked.
        head: names of the modules that are trained in full.
        model: name of the model, for the message.

    Raises:
        InputError: some parameters would be random and frozen.
    """
    frozen = sorted(name for name in absent if not _is_in(name, head))
    if frozen:
        raise InputError(
            f"{model} lacks {len(frozen)} of the base's weights, for example {frozen[0]}; they "
            "would be random and frozen. Give a complete model, or, where they are meant to be "
            "new, name the modules that hold them as head (in Python)"
        )


def refuse_new_and_frozen(model: nn.Module, head: Sequence[str]) -> None:
    """Apply `refuse_untrained` to a model that somebody else has loaded.

    Embeddings do not count, nor do output embeddings if the input embeddings are new: they hold
    pretrained rows beside those that `resize_token_embeddings` added.

    Raises:
        InputError: parameters that the checkpoint lacked would be random and frozen.
    """
    new = new_parameters(model)
    tables = {
        f"{name}.weight"
        for name, module in model.named_modules()
        if isinstance(module, nn.Embedding)
    }
    if new & tables and isinstance(model, PreTrainedModel):
        outputs = model.get_output_embeddings()
        resized = [name for name, module in model.named_modules() if module is outputs]
        tables |= {name for name in new if _is_in(name, resized)}
    refuse_untrained(new - tables, head, "the checkpoint of the model")


def refuse_other_heads(model: nn.Module, config: LoraConfig) -> None:
    """Refuse names of a head that PEFT, which matches ends of names, would find elsewhere too.

    Args:
        model: not yet wrapped.
        config: its `modules_to_save` are whole names, or ends of names after a dot.

    Raises:
        InputError: PEFT would train other modules too, or those that it adds to each layer.
    """
    head = tuple(config.modules_to_save or ())
    sought = head + (_PEFT_HEADS if config.task_type in _PEFT_TASKS else ())
    names = {name for name, _ in model.named_modules()}
    asked = {
        name
        for name in names
        for own in head
        if name == own or (own not in names and name.endswith(f".{own}"))
    }
    for name in sorted({*names, *_MADE} - asked):
        if name.endswith(sought) and not _is_in(name, sorted(asked)):
            raise InputError(
                f"PEFT would train {name} in full too, since its name ends like that of a head "
                f"({', '.join(sought)}): it tells modules by the end of their names. Rename the "
                "head's module"
            )


def _is_in(parameter: str, modules: Sequence[str]) -> bool:
    return parameter.startswith(tuple(f"{module}." for module in modules))


def train_in_float32(head: nn.Module) -> None:
    """Store a head in float32, and let it take inputs of any precision.

    In bfloat16 a usual step is below half of a number's last digit, so most numbers of a head would
    never move; in float16 AdamW's epsilon is 0. A head in float32 is left alone.
    """
    if all(p.dtype in (torch.float32, torch.float64) for p in head.parameters()):
        return
    head.float()
    head.register_forward_pre_hook(_to_float32, with_kwargs=True)


def _to_float32(_: nn.Module, given: tuple[Any, ...], named: dict[str, Any]) -> tuple[Any, Any]:
    def wide(value: Any) -> Any:
        low = isinstance(value, torch.Tensor) and value.dtype in (torch.bfloat16, torch.float16)
        return value.float() if low else value

    return tuple(map(wide, given)), {name: wide(value) for name, value in named.items()}
