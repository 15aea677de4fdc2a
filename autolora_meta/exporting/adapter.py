"""Saving a trained adapter for any tool of the ecosystem, checked by loading it."""

import copy
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from torch import Tensor
from transformers import PreTrainedModel

from autolora_meta.errors import InputError
from autolora_meta.finetuning.lora import quiet_peft
from autolora_meta.finetuning.retrain import RetrainResult
from autolora_meta.foundation import manifest
from autolora_meta.foundation.disk import written_by_others
from autolora_meta.foundation.places import scratch, sweep, usual_permissions


def save_adapter(
    result: RetrainResult, directory: str | Path, card: str, *, base: PreTrainedModel
) -> None:
    """Write adapter, tokenizer, model card and the model's config.json; load them and compare.

    The folder appears only when it is right: it is written beside its place, and moved after the
    comparison.

    Args:
        result: what `retrain` returned.
        directory: folder of the adapter; must not exist, or be empty.
        card: text of README.md.
        base: a fresh base, loaded as for `retrain`, and wrapped in place. Another seed for its head
            shows that the head comes from the adapter.

    Raises:
        InputError: `directory` exists and is not empty, or its disk is full.
        RuntimeError: the loaded adapter gives other logits than the trained one.
    """
    folder = Path(directory).absolute()
    if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        raise InputError(f"{folder} exists; give another folder, or an empty one")
    folder.parent.mkdir(parents=True, exist_ok=True)
    sweep(folder.parent, folder.name)
    with written_by_others(folder), scratch(folder.parent, folder.name) as beside:
        written = beside / folder.name
        _write(result, written, card)
        manifest.seal(written)
        _check(result, written, base)
        usual_permissions(written)
        if folder.exists():
            folder.rmdir()
        written.rename(folder)


def _write(result: RetrainResult, folder: Path, card: str) -> None:
    # Else PEFT asks the hub whether the base's vocabulary was resized.
    result.model.save_pretrained(str(folder), save_embedding_layers=False)
    result.tokenizer.save_pretrained(folder)
    # Class of the model, number and names of the classes: what the base alone does not know.
    base: Any = result.model.get_base_model()
    config = copy.deepcopy(base.config)
    config.architectures = [type(base).__name__]
    config.save_pretrained(folder)
    (folder / "README.md").write_text(card, encoding="utf-8")


def _check(result: RetrainResult, folder: Path, base: PreTrainedModel) -> None:
    with quiet_peft():
        loaded = PeftModel.from_pretrained(base, str(folder))
    trained, reloaded = _logits(result.model, result.sample), _logits(loaded, result.sample)
    gap = (trained - reloaded).abs().max().item()
    if not gap <= 1e-4 * max(1.0, trained.abs().max().item()):
        raise RuntimeError(
            f"the adapter, saved and loaded again, gives logits that differ by {gap:g} from those "
            "of the model that was trained; it is not kept"
        )


@torch.no_grad()
def _logits(model: PeftModel, batch: dict[str, Tensor]) -> Tensor:
    here = {name: values.to(model.device) for name, values in batch.items()}
    return model.eval()(**here).logits.float()
