"""A base in 4 or 8 bits, by bitsandbytes through transformers."""

from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any, Literal

import torch
import transformers
from transformers import BitsAndBytesConfig, PreTrainedConfig

from autolora_meta.errors import InputError
from autolora_meta.finetuning.heads import head_modules

Quantization = Literal["nf4", "int8"]


def refuse_without_gpu(quantization: Quantization | None) -> None:
    """Refuse a quantised base on a machine that cannot load it, before anything is loaded.

    Raises:
        InputError: torch sees no CUDA device, or bitsandbytes is not installed.
    """
    if quantization is None:
        return
    if not torch.cuda.is_available():
        raise InputError(
            f"model.quantization is {quantization}, which needs a CUDA device, and torch sees none "
            "here; leave it out (model.dtype=bfloat16 halves a base), or run on a GPU"
        )
    if find_spec("bitsandbytes") is None:
        raise InputError(
            f"model.quantization is {quantization}, which needs bitsandbytes, and it is not "
            "installed; pip install 'autolora-meta[quantization]'"
        )


def quantization_config(
    quantization: Quantization, model_class: str, config: PreTrainedConfig, settings: Any
) -> BitsAndBytesConfig:
    """Return what `from_pretrained` takes to quantise a base.

    nf4 is QLoRA's: 4 bits with quantised constants, multiplied in bfloat16. The head, which is
    trained in full, and the output embeddings stay as they are.

    Args:
        quantization: nf4 or int8.
        model_class: name of the auto class of transformers.
        config: of the pretrained model.
        settings: of the task, laid over it.
    """
    skip = _whole(model_class, config, settings)
    if quantization == "int8":
        return BitsAndBytesConfig(load_in_8bit=True, llm_int8_skip_modules=skip)
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=torch.bfloat16,
        llm_int8_skip_modules=skip,
    )


def _whole(model_class: str, config: PreTrainedConfig, settings: Any) -> list[str]:
    """Return the names of the modules that are not quantised, from a model without weights."""
    config = type(config).from_dict({**config.to_dict(), **settings})
    with torch.device("meta"):
        model = getattr(transformers, model_class).from_config(config)
    outputs = model.get_output_embeddings()
    ends: Sequence[str] = [name for name, part in model.named_modules() if part is outputs]
    return [*head_modules(model), *(ends if outputs is not None else ())]
