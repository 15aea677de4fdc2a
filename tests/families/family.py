"""One tiny model of each family, made from a configuration, and batches that it takes."""

from collections.abc import Callable
from dataclasses import dataclass
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
GEMMA = {"head_dim": 8, "pad_token_id": 0}
# Relative positions, as in the checkpoints that people use.
DEBERTA = {"relative_attention": True, "pos_att_type": ["c2p", "p2c"], "position_buckets": 8}
DEBERTA_V2 = DEBERTA | {"share_att_key": True}


@dataclass(frozen=True)
class Family:
    """How a tiny model of a family is made and fed.

    Args:
        config: name of its configuration class.
        task: what is put on the base: the end of the auto class.
        settings: of the configuration.
        default: names of the layers that `lora.targets: default` adapts.
        layers: how many layers `all-linear` adapts.
    """

    config: str
    task: str
    settings: dict[str, Any]
    default: tuple[str, ...]
    layers: int

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
QUERY_VALUE, PROJECTIONS = ("query", "value"), ("q_proj", "v_proj")

FAMILIES: dict[str, Family] = {
    "bert": Family("BertConfig", SEQUENCE, ENCODER, QUERY_VALUE, 13),
    "roberta": Family("RobertaConfig", TOKENS, ENCODER, QUERY_VALUE, 12),
    "deberta": Family("DebertaConfig", SEQUENCE, ENCODER | DEBERTA, ("in_proj",), 12),
    "deberta-v2": Family(
        "DebertaV2Config", SEQUENCE, ENCODER | DEBERTA_V2, ("query_proj", "value_proj"), 12
    ),
    "distilbert": Family(
        "DistilBertConfig",
        SEQUENCE,
        {
            "vocab_size": WORDS,
            "dim": WIDTH,
            "hidden_dim": 2 * WIDTH,
            "n_layers": 2,
            "n_heads": 2,
            "max_position_embeddings": 32,
            "initializer_range": 0.2,
        },
        ("q_lin", "v_lin"),
        12,
    ),
    "electra": Family("ElectraConfig", TOKENS, ENCODER | {"embedding_size": 8}, QUERY_VALUE, 13),
    "gpt2": Family(
        "GPT2Config",
        CAUSAL,
        {
            "vocab_size": WORDS,
            "n_embd": WIDTH,
            "n_layer": 2,
            "n_head": 2,
            "n_positions": 32,
            "initializer_range": 0.2,
            "bos_token_id": 2,
            "eos_token_id": 2,
        },
        ("c_attn",),
        8,
    ),
    "llama": Family("LlamaConfig", CAUSAL, DECODER, PROJECTIONS, 14),
    "qwen2": Family("Qwen2Config", CAUSAL, DECODER, PROJECTIONS, 14),
    "qwen3": Family("Qwen3Config", CAUSAL, DECODER | {"head_dim": 8}, PROJECTIONS, 14),
    "mistral": Family("MistralConfig", SEQUENCE, DECODER | {"pad_token_id": 0}, PROJECTIONS, 14),
    "gemma": Family("GemmaConfig", CAUSAL, DECODER | GEMMA, PROJECTIONS, 14),
    "gemma3": Family("Gemma3TextConfig", CAUSAL, DECODER | GEMMA, PROJECTIONS, 14),
    "t5": Family(
        "T5Config",
        "Seq2SeqLM",
        {
            "vocab_size": WORDS,
            "d_model": WIDTH,
            "d_kv": 8,
            "d_ff": 2 * WIDTH,
            "num_layers": 2,
            "num_heads": 2,
            "decoder_start_token_id": 0,
            "initializer_factor": 1.0,
        },
        ("q", "v"),
        32,
    ),
    "vit": Family(
        "ViTConfig",
        "ImageClassification",
        {
            "hidden_size": WIDTH,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "intermediate_size": 2 * WIDTH,
            "image_size": 8,
            "patch_size": 4,
            "initializer_range": 0.2,
        },
        PROJECTIONS,
        12,
    ),
}
