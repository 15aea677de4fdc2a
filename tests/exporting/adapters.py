"""How adapters are made for a test, with numbers in every factor."""

from pathlib import Path

import torch
from peft import LoraConfig, get_peft_model
from torch import nn
from transformers import (
    AutoModelForSequenceClassification,
    PreTrainedModel,
)

from autolora_meta.finetuning.lora import quiet_peft

RANKS = (3, 0, 1, 2)
Adapter = tuple[Path, Path]  # base, adapter


def drawn(model: nn.Module) -> None:
    """Every trained number away from zero."""
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.normal_()


def saved(base: PreTrainedModel, config: LoraConfig, folder: Path) -> Path:
    torch.manual_seed(0)
    with quiet_peft():
        model = get_peft_model(base, config)  # type: ignore[arg-type]
    drawn(model)
    model.save_pretrained(str(folder), save_embedding_layers=False)
    return folder


def classifier(base: Path) -> PreTrainedModel:
    return AutoModelForSequenceClassification.from_pretrained(base, num_labels=3)
