"""A tiny BERT whose training rows have weights, with its two problems, in float64."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from autolora_meta.problems.reweighting import reweighting
from peft import PeftModel
from torch import Tensor

from autolora_meta.bilevel.engine import SearchEngine
from autolora_meta.bilevel.options import SearchOptions
from autolora_meta.bilevel.row_weights import RowWeights
from autolora_meta.finetuning.batch_order import LoaderStream
from autolora_meta.finetuning.lora import LoraOptions, wrap_for_search
from autolora_meta.finetuning.numbered_rows import NUMBER
from autolora_meta.finetuning.targets import target_layers
from tests.bilevel.program import batches, loss, tiny_model

ROWS = 12


def numbered_batches(seed: int) -> list[dict[str, Tensor]]:
    """Batches of 4 of 12 rows, whose numbers are not in their order."""
    numbers = torch.randperm(ROWS, generator=torch.Generator().manual_seed(seed)).split(4)
    return [{**b, NUMBER: n} for b, n in zip(batches(seed), numbers, strict=True)]


@contextmanager
def weighted_program(
    dropout: float = 0.0, selection: Any = "learned", **options: Any
) -> Iterator[tuple[PeftModel, RowWeights, SearchEngine]]:
    """A search of weights over random batches, ready to run; weights are uneven, B is not 0."""
    model = tiny_model(dropout)
    names = target_layers(model, ["query", "output.dense"])
    wrapped = wrap_for_search(model, names, LoraOptions(k=3), seed=0, head=("classifier",))
    wrapped.double().train()
    with torch.no_grad():
        for name, parameter in wrapped.named_parameters():
            if "lora_B" in name:
                parameter.copy_(torch.randn_like(parameter) / 4)
    weights = RowWeights(ROWS, torch.linspace(0.2, 0.9, ROWS)).double()
    torch.manual_seed(1)
    train, validation = LoaderStream(numbered_batches(1)), LoaderStream(batches(2))
    chosen = SearchOptions.model_validate(options)
    engine = reweighting(wrapped, weights, train, validation, loss, chosen, selection=selection)
    yield wrapped, weights, engine
