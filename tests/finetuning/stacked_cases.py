"""Models with adapters of which no number is 0, and batches for them."""

import copy
from collections.abc import Callable, Mapping
from typing import Any

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    BertForTokenClassification,
    GPT2Config,
    GPT2ForSequenceClassification,
    GPT2LMHeadModel,
    RobertaConfig,
    RobertaForSequenceClassification,
)

from autolora_meta.finetuning.lora import quiet_peft
from autolora_meta.finetuning.stacked_jobs import Job

Make = Callable[..., Job]

SIZES: dict[str, Any] = {
    "vocab_size": 40,
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "num_labels": 3,
}
TINY: dict[str, Any] = SIZES | {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
GPT2: dict[str, Any] = {
    "vocab_size": 40,
    "n_embd": 16,
    "n_layer": 2,
    "n_head": 2,
    "resid_pdrop": 0.0,
    "embd_pdrop": 0.0,
    "attn_pdrop": 0.0,
    "pad_token_id": 0,
    "num_labels": 3,
}
RANKS, ROWS = (1, 4, 2), 4
Batch = dict[str, Tensor]


class Convolutional(nn.Module):
    """A convolution, layer norm in the head, and a loss of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 6, 3, stride=2, padding=1), nn.ReLU())
        self.head = nn.Sequential(nn.Flatten(), nn.LayerNorm(6 * 16), nn.Linear(6 * 16, 3))

    def forward(self, pixels: Tensor, labels: Tensor) -> Any:
        weight = torch.tensor([1.0, 2.0, 0.5], dtype=pixels.dtype)
        return cross_entropy(self.head(self.body(pixels)), labels, weight, label_smoothing=0.1)


def texts(rows: int, *, tags: bool = False) -> Batch:
    ids = torch.randint(1, 40, (rows, 7))
    mask = torch.ones_like(ids)
    mask[::2, 5:] = 0
    labels = torch.randint(0, 3, (rows, 7) if tags else (rows,))
    if tags:
        labels[:, 0] = -100
        labels[1::3, 3:] = -100  # so adapters count different numbers of words
    return {"input_ids": ids, "attention_mask": mask, "labels": labels}


def language(rows: int) -> Batch:
    ids = torch.randint(1, 40, (rows, 7))
    return {"input_ids": ids, "labels": ids}


def pictures(rows: int) -> Batch:
    return {
        "pixels": torch.randn(rows, 3, 8, 8, dtype=torch.float64),
        "labels": torch.randint(0, 3, (rows,)),
    }


def model_loss(model: nn.Module, batch: Mapping[str, Tensor]) -> Tensor:
    given = model(**batch)
    return given if isinstance(given, Tensor) else given.loss


CASES: dict[str, tuple[Callable[[], nn.Module], list[str], list[str], Callable[[int], Batch]]] = {
    "encoder": (
        lambda: BertForSequenceClassification(BertConfig(**TINY)),
        ["query", "intermediate.dense"],
        ["classifier", "pooler"],
        texts,
    ),
    "tags": (
        lambda: BertForTokenClassification(BertConfig(**TINY)),
        ["value", "output.dense"],
        ["classifier"],
        lambda rows: texts(rows, tags=True),
    ),
    "head of two layers": (
        lambda: RobertaForSequenceClassification(RobertaConfig(**TINY)),
        ["key"],
        ["classifier"],
        texts,
    ),
    "Conv1D": (
        lambda: GPT2ForSequenceClassification(GPT2Config(**GPT2)),
        ["c_attn", "c_fc"],
        ["score"],
        texts,
    ),
    "language model": (
        lambda: GPT2LMHeadModel(GPT2Config(**GPT2)),
        ["c_attn"],
        [],
        language,
    ),
    "Conv2d": (Convolutional, ["body.0"], ["head"], pictures),
}


def wrapped(base: nn.Module, rank: int, targets: list[str], head: list[str]) -> PeftModel:
    """A copy of the base in float64, with an adapter of which no number is 0."""
    config = LoraConfig(
        r=rank, lora_alpha=2 * rank, target_modules=targets, modules_to_save=head or None
    )
    with quiet_peft():
        model = get_peft_model(copy.deepcopy(base), config)  # pyright: ignore[reportArgumentType]
    assert isinstance(model, PeftModel)
    for parameter in model.double().parameters():
        if parameter.requires_grad:
            parameter.data += 0.1 * torch.randn_like(parameter)
    return model


def trained(model: nn.Module) -> list[nn.Parameter]:
    return [p for p in model.parameters() if p.requires_grad]


def cut(batch: Batch, r: int) -> Batch:
    return {name: rows[r * ROWS : (r + 1) * ROWS] for name, rows in batch.items()}


def encoder(rank: int = 2) -> PeftModel:
    make, targets, head, _ = CASES["encoder"]
    return wrapped(make(), rank, targets, head)
