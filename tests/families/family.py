"""One tiny model of each family, made from a configuration, and batches that it takes."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
import transformers
from torch import Tensor
from transformers import PreTrainedModel

WIDTH, WORDS, CLASSES, ROWS, LENGTH = 16, 40, 3, 8, 6
ENCODER = {
    "vocab_size": WORDS,
    "hidden_size": WIDTH,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 2 * WIDTH,
    "max_position_embeddings": 32,
    "initializer_range": 0.2,  # wide enough that so small a model can be told from noise
}
DECODER = ENCODER | {"num_key_value_heads": 1, "bos_token_id": 1, "eos_token_id": 2}


@dataclass(frozen=True)
class Family:
    """How a tiny model of a family is made and fed.

    Args:
        config: name of its configuration class.
        task: what is put on the base: the end of the auto class.
        settings: of the configuration.
        layers: how many layers `all-linear` adapts.
        default: names of the layers that `lora.targets: default` adapts; given for the few
            families that every run of the tests goes through.
        pixels: side of a picture.
        lora: settings under `lora` that the family needs.
        refused: part of the message of the InputError that the family ends in.
    """

    config: str
    task: str
    settings: dict[str, Any]
    layers: int = 0
    default: tuple[str, ...] = ()
    pixels: int = 8
    lora: dict[str, Any] = field(default_factory=dict)
    refused: str = ""

    @property
    def auto(self) -> Any:
        """The auto class."""
        return getattr(transformers, f"AutoModelFor{self.task}")

    def model(self) -> PreTrainedModel:
        """A model with weights of its own, always the same."""
        config = getattr(transformers, self.config)(**self.settings)
        if self.task in LABELLED:
            config.num_labels = CLASSES
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            return self.auto.from_config(config)

    def batches(self, count: int, seed: int = 0) -> list[dict[str, Tensor]]:
        """Random rows; what the label is, the first word or pixel tells."""
        generator = torch.Generator().manual_seed(seed)
        return [INPUTS[self.task](generator) for _ in range(count)]


def _ids(generator: torch.Generator) -> dict[str, Tensor]:
    ids = torch.randint(4, WORDS, (ROWS, LENGTH), generator=generator)
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids)}


def _sequence(generator: torch.Generator) -> dict[str, Tensor]:
    batch = _ids(generator)
    return {**batch, "labels": batch["input_ids"][:, 0] % CLASSES}


def _tokens(generator: torch.Generator) -> dict[str, Tensor]:
    batch = _ids(generator)
    return {**batch, "labels": batch["input_ids"] % CLASSES}


def _causal(generator: torch.Generator) -> dict[str, Tensor]:
    batch = _ids(generator)
    return {**batch, "labels": batch["input_ids"] % 4 + 4}


def _image(generator: torch.Generator) -> dict[str, Tensor]:
    pixels = torch.randn(ROWS, 3, 8, 8, generator=generator)
    return {"pixel_values": pixels, "labels": (pixels[:, 0, 0, 0] > 0).long()}


INPUTS: dict[str, Callable[[torch.Generator], dict[str, Tensor]]] = {
    "SequenceClassification": _sequence,
    "TokenClassification": _tokens,
    "CausalLM": _causal,
    "Seq2SeqLM": _causal,
    "ImageClassification": _image,
}
LABELLED = ("SequenceClassification", "TokenClassification", "ImageClassification")
SEQUENCE, TOKENS, CAUSAL = "SequenceClassification", "TokenClassification", "CausalLM"
IMAGES = "ImageClassification"
QUERY_VALUE, PROJECTIONS = ("query", "value"), ("q_proj", "v_proj")
# Why families are refused.
NO_LINEAR = "the model has no linear layer to adapt"
NO_TASK = "Unrecognized configuration class"
