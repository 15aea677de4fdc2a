"""The ranks of an adapter on disk, read from its two files, without a base model."""

import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, NotRequired

from peft import LoraConfig
from peft.utils.other import get_pattern_key
from pydantic import Field
from safetensors import SafetensorError, safe_open
from typing_extensions import TypedDict

from autolora_meta.errors import InputError
from autolora_meta.foundation import manifest
from autolora_meta.foundation.json_files import Count, read_json
from autolora_meta.foundation.reading import refuse_special
from autolora_meta.ranks.pattern import RankPattern

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
PREFIX = "base_model.model."
# Ends of a factor's name in the file: A and B of linear layers and convolutions, of embeddings.
FACTORS = ((".lora_A.weight", ".lora_B.weight"), (".lora_embedding_A", ".lora_embedding_B"))
_NONE = "is not a configuration of a PEFT adapter"
_AGAIN = "save the adapter again with PEFT's save_pretrained"
_Number = Annotated[float, Field(allow_inf_nan=False)]


class _Kind(TypedDict):
    """What adapter_config.json holds of every adapter."""

    peft_type: str


class _Stored(TypedDict):
    """What it holds of LoRA; of its settings those that are read here."""

    r: NotRequired[Count]
    lora_alpha: NotRequired[_Number]
    rank_pattern: NotRequired[dict[str, Count] | None]
    alpha_pattern: NotRequired[dict[str, _Number] | None]
    use_rslora: NotRequired[bool]
    base_model_name_or_path: NotRequired[str | None]
    revision: NotRequired[str | None]
    task_type: NotRequired[str | None]
    modules_to_save: NotRequired[list[str] | None]
    auto_mapping: NotRequired[dict[str, str | None] | None]
    target_modules: NotRequired[list[str] | str | None]


@dataclass(frozen=True)
class StoredAdapter:
    """What the files of an adapter hold.

    Args:
        config: PEFT's configuration.
        names, ranks, costs, scales: one entry for each layer that has factors. (L,)
    """

    config: LoraConfig
    names: tuple[str, ...]
    ranks: tuple[int, ...]
    costs: tuple[int, ...]
    scales: tuple[float, ...]

    @property
    def pattern(self) -> RankPattern:
        """The ranks, with the largest as k and the scale of the first layer as c."""
        return RankPattern(
            self.names, self.ranks, self.costs, k=max(self.ranks), scale=self.scales[0]
        )


def read_config(folder: Path) -> LoraConfig:
    """Read the LoRA configuration in an adapter's folder.

    Raises:
        InputError: it cannot be read, or is not of LoRA.
    """
    path = folder / CONFIG
    kind = read_json(path, _Kind, what=_NONE, again=_AGAIN)["peft_type"]
    try:
        if kind == "LORA":
            read_json(path, _Stored, what=_NONE, again=_AGAIN)
            config: Any = LoraConfig.from_pretrained(str(folder))
            if config.megatron_config:
                raise ValueError(
                    "megatron_config names a module to import, and a file may not; remove it"
                )
            return config
    except InputError:
        raise
    except Exception as error:  # whatever PEFT stumbles over in a broken file
        raise InputError(f"{path} {_NONE}: {error}") from None
    raise InputError(f"{path} is of an adapter of type {kind}; only LORA has a rank for each layer")


def refuse_damaged_adapter(folder: Path) -> None:
    """Refuse an adapter of which a file is not what was written there, README.md apart.

    Raises:
        InputError: it is one; the message names the file.
    """
    again = "train it again with `autolora-meta retrain RUN --output FOLDER`"
    read = (name for name in manifest.names(folder) if name != "README.md")
    manifest.refuse_damaged(folder, f"{again}; or {manifest.AS_IT_IS}", *read)


def read_adapter(folder: str | Path) -> StoredAdapter:
    """Read names, ranks, costs and scales of an adapter, whoever made it.

    Args:
        folder: holds adapter_config.json and adapter_model.safetensors.

    Raises:
        InputError: a file is missing, broken or damaged, or the adapter is not LoRA.

    >>> read_adapter("runs/quickstart/adapter").pattern.total_rank  # doctest: +SKIP
    23
    """
    folder = Path(folder)
    refuse_damaged_adapter(folder)
    config, path = read_config(folder), folder / WEIGHTS
    try:
        refuse_special(path)
        with safe_open(path, framework="pt") as file:
            shapes = {key: tuple(file.get_slice(key).get_shape()) for key in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise InputError(
            f"{path} cannot be read: {error}; an adapter's weights are expected as safetensors "
            "(files of other kinds are pickles, which can run code: save the adapter again with "
            "PEFT's save_pretrained)"
        ) from None
    found: dict[str, tuple[int, int]] = {}
    for key, shape in shapes.items():
        for a, b in FACTORS:
            other = key.removesuffix(a) + b
            if key.endswith(a) and other in shapes:
                if not all((*shape, *shapes[other])) or not (shape and shapes[other]):
                    raise InputError(f"{path} is damaged: {key} has the shape {shape}")
                name = key.removesuffix(a).removeprefix(PREFIX)
                size = math.prod(shape) + math.prod(shapes[other])
                found[name] = (shape[0], size // shape[0])
    if not found:
        raise InputError(f"{path} holds no LoRA factors")
    names = tuple(sorted(found, key=_natural))
    ranks = tuple(found[name][0] for name in names)
    return StoredAdapter(
        config,
        names,
        ranks,
        tuple(found[name][1] for name in names),
        tuple(_scale(config, name, rank) for name, rank in zip(names, ranks, strict=True)),
    )


def _scale(config: LoraConfig, name: str, rank: int) -> float:
    alphas = config.alpha_pattern or {}
    try:
        alpha = alphas.get(get_pattern_key(list(alphas), name), config.lora_alpha)
    except re.error as error:
        raise InputError(
            f"alpha_pattern of the adapter holds no pattern of names: {error}"
        ) from None
    # c = alpha / r; rsLoRA: alpha / sqrt(r)
    return alpha / (math.sqrt(rank) if config.use_rslora else rank)


def _natural(name: str) -> list[tuple[int, int | str]]:
    """Return a sort key that puts layer 10 after layer 9."""
    return [(0, int(part)) if part.isdigit() else (1, part) for part in name.split(".")]
