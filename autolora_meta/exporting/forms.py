"""The forms of an export: how each is written, and loaded again."""

import copy
import json
import runpy
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from peft import (
    LoraConfig,
    get_peft_model,
    get_peft_model_state_dict,
    set_peft_model_state_dict,
)
from safetensors.torch import load_file, save
from torch import Tensor, nn
from transformers import AutoConfig, PreTrainedModel

from autolora_meta.exporting import other_tools
from autolora_meta.exporting.base import adapted, model_class
from autolora_meta.exporting.limits import SUBTRACTED
from autolora_meta.exporting.source import Source
from autolora_meta.exporting.start import write_start
from autolora_meta.exporting.stored import CONFIG, WEIGHTS, read_adapter, read_config
from autolora_meta.exporting.surgery import as_difference, merge, pad, untie
from autolora_meta.foundation import manifest
from autolora_meta.foundation.randomness import seeded

# What tokenizers and image processors save; a Trainer's checkpoint holds its optimizer beside them.
_PROCESSOR = ("*token*.json", "vocab*", "merges.txt", "bpe.codes", "*.model", "*.tiktoken")
_PROCESSOR += ("*processor_config.json", "chat_template.*")

Base = Callable[[], PreTrainedModel]


@dataclass(frozen=True)
class Form:
    """One form of an export.

    Args:
        write: (source, file or folder, base) -> None; `base()` is a fresh base model.
        load: (source, file or folder, base) -> the model that was written.
        config: (file or folder) -> the LoraConfig in it.
        weights: whether it needs weights, not ranks alone.
    """

    write: Callable[[Source, Path, Base | None], None]
    load: Callable[[Source, Path, Base], nn.Module]
    config: Callable[[Path], LoraConfig] = read_config
    weights: bool = False

    def check_ranks(self, source: Source, place: Path) -> None:
        """Check that the written configuration has the ranks of the source.

        Raises:
            RuntimeError: it has others.
        """
        meant, found = (other_tools.settings(c) for c in (source.config, self.config(place)))
        if any(meant[key] != found.get(key) for key in meant if key != "task_type"):
            raise RuntimeError(f"{place.name}, read again, holds other ranks; it is not kept")


def _write_peft(source: Source, place: Path, base: Base | None) -> None:
    if source.adapter is None:
        source.config.save_pretrained(str(place))
    else:
        shutil.copytree(source.adapter, place)
        name_base(source, place)


def _write_padded(source: Source, place: Path, base: Base | None) -> None:
    assert source.adapter is not None and base is not None
    stored, weights = read_adapter(source.adapter), load_file(source.adapter / WEIGHTS)
    if stored.config.init_lora_weights in SUBTRACTED:
        stored, weights = as_difference(stored, weights, _start(base(), stored.config))
    config, weights = pad(stored, weights)
    config.save_pretrained(str(place), auto_mapping_dict=source.config.auto_mapping)
    (place / WEIGHTS).write_bytes(save(weights, metadata={"format": "pt"}))
    _keep(source.adapter, place, ("config.json",))
    name_base(source, place)


def _write_merged(source: Source, place: Path, base: Base | None) -> None:
    assert source.adapter is not None and base is not None
    model = base()
    untie(model, source.config, read_adapter(source.adapter).names)
    merge(adapted(model, source.adapter)).save_pretrained(str(place))
    _keep(source.adapter, place)


def name_base(source: Source, place: Path) -> None:
    """Let the written adapter name the base that `--base` gave."""
    about = json.loads((place / CONFIG).read_text(encoding="utf-8"))
    if about["base_model_name_or_path"] != source.name:
        about["base_model_name_or_path"] = source.name
        with manifest.sealing_again(place / CONFIG):
            (place / CONFIG).write_text(json.dumps(about, indent=2), encoding="utf-8")


def _keep(adapter: Path, place: Path, also: tuple[str, ...] = ()) -> None:
    """Copy tokenizer or image processor, if the adapter came with one."""
    for path in adapter.iterdir():
        if path.is_file() and any(fnmatch(path.name, name) for name in (*_PROCESSOR, *also)):
            shutil.copy(path, place)


def _write_start(source: Source, place: Path, base: Base | None) -> None:
    assert base is not None
    write_start(source, place, base)


def _write_axolotl(source: Source, place: Path, base: Base | None) -> None:
    place.write_text(other_tools.to_axolotl(source.config, source.name), encoding="utf-8")


def _write_trainer(source: Source, place: Path, base: Base | None) -> None:
    model = base().config if base else None
    labels = model.num_labels if model is not None and source.config.modules_to_save else None
    kind = model_class(source.config, model)
    text = other_tools.to_trainer(source.config, source.name, kind, labels)
    place.write_text(text, encoding="utf-8")


def _start(base: PreTrainedModel, config: LoraConfig) -> dict[str, Tensor]:
    """Return the factors that the adapter started from, by their names in its file."""
    config = copy.deepcopy(config)
    config.inference_mode = False
    model: Any = get_peft_model(base, config)
    return get_peft_model_state_dict(model, save_embedding_layers=False)


def _load_peft(source: Source, place: Path, base: Base) -> nn.Module:
    return adapted(base(), place)


def _load_merged(source: Source, place: Path, base: Base) -> nn.Module:
    model = base()
    kind: Any = type(model)
    trusted = source.base is not None and source.base.trust_remote_code
    config = AutoConfig.from_pretrained(place, trust_remote_code=trusted)
    return kind.from_pretrained(place, config=config, dtype=model.dtype)


def _load_settings(read: Callable[[Path], LoraConfig]) -> Callable[..., nn.Module]:
    """Return a loader that makes a model from settings alone and puts the adapter's weights in."""

    def load(source: Source, place: Path, base: Base) -> nn.Module:
        assert source.adapter is not None
        with seeded(0):
            model = get_peft_model(base(), read(place))  # pyright: ignore[reportArgumentType]
        weights = load_file(source.adapter / WEIGHTS)
        outcome: Any = set_peft_model_state_dict(model, weights)
        if outcome.unexpected_keys:
            raise RuntimeError(
                f"{place.name} leaves out layers of the adapter: {outcome.unexpected_keys[0]}; it "
                "is not kept"
            )
        return model

    return load


def _read_axolotl(place: Path) -> LoraConfig:
    return other_tools.from_axolotl(place.read_text(encoding="utf-8"))


def _read_trainer(place: Path) -> LoraConfig:
    # Our own file: every value in it was written by repr.
    return runpy.run_path(str(place))["lora_config"]


FORMS: dict[str, Form] = {
    "peft": Form(_write_peft, _load_peft),
    "axolotl": Form(_write_axolotl, _load_settings(_read_axolotl), _read_axolotl),
    "trainer": Form(_write_trainer, _load_settings(_read_trainer), _read_trainer),
    "merged": Form(_write_merged, _load_merged, weights=True),
    "padded": Form(_write_padded, _load_peft, weights=True),
    "start": Form(_write_start, _load_peft),
}
