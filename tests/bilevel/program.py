"""A tiny gated BERT with its two problems, small enough to differentiate in full."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from autolora_meta.problems.autolora import autolora
from peft import PeftModel
from torch import Tensor, nn
from transformers import BertConfig, BertForSequenceClassification

from autolora_meta.bilevel.engine import SearchEngine
from autolora_meta.bilevel.gating import Gates, gated
from autolora_meta.bilevel.options import SearchOptions
from autolora_meta.finetuning.batch_order import LoaderStream
from autolora_meta.finetuning.lora import LoraOptions, wrap_for_search
from autolora_meta.finetuning.targets import target_layers


def batches(seed: int, count: int = 3, rows: int = 4) -> list[dict[str, Tensor]]:
    """Random token ids and labels."""
    draw = torch.Generator().manual_seed(seed)
    return [
        {
            "input_ids": torch.randint(5, 40, (rows, 6), generator=draw),
            "labels": torch.randint(0, 3, (rows,), generator=draw),
        }
        for _ in range(count)
    ]


def tiny_model(dropout: float = 0.0) -> BertForSequenceClassification:
    """Two layers of width 8, random weights, float64."""
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=40,
        hidden_size=8,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=12,
        max_position_embeddings=8,
        hidden_dropout_prob=dropout,
        attention_probs_dropout_prob=dropout,
        num_labels=3,  # pyright: ignore[reportCallIssue]
        initializer_range=0.5,
    )
    return BertForSequenceClassification(config).double()


def loss(model: nn.Module, batch: Mapping[str, Any]) -> Tensor:
    return model(**batch).loss


@contextmanager
def program(
    dropout: float = 0.0, **options: Any
) -> Iterator[tuple[PeftModel, Gates, SearchEngine]]:
    """A search over random batches, ready to run; B is away from 0, the logits are uneven.

    Args:
        dropout: of the model.
        options: `selection`, and options of the search.
    """
    selection = options.pop("selection", "learned")
    model = tiny_model(dropout)
    names = target_layers(model, ["query", "output.dense"])
    wrapped = wrap_for_search(model, names, LoraOptions(k=3), seed=0, head=("classifier",))
    wrapped.double().train()
    chosen = SearchOptions.model_validate(options)
    gates = Gates(names, 3, chosen.gates).double()
    with torch.no_grad():
        gates.logits.copy_(torch.linspace(-1, 1, gates.logits.numel()).view_as(gates.logits))
        for name, parameter in wrapped.named_parameters():
            if "lora_B" in name:
                parameter.copy_(torch.randn_like(parameter) / 4)
    with gated(wrapped, gates):
        torch.manual_seed(1)
        train, validation = LoaderStream(batches(1)), LoaderStream(batches(2))
        engine = autolora(wrapped, gates, train, validation, loss, chosen, selection=selection)
        yield wrapped, gates, engine
