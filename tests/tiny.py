"""A tiny BERT, a word-level tokenizer and texts that they can learn: all made on the spot."""

import csv
import random
from pathlib import Path

import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
# Words that give the class away, and words that say nothing.
TELLING = {
    "animal": ("cat", "dog", "horse", "mouse", "bird"),
    "colour": ("red", "green", "blue", "black", "white"),
    "number": ("one", "two", "three", "four", "five"),
}
FILLING = ("the", "a", "is", "was", "here", "there", "now", "then", "and", "or", "very", "quite")


def tiny_tokenizer() -> PreTrainedTokenizerFast:
    """A word-level tokenizer with BERT's special tokens, over the words of `tiny_texts`."""
    words = [*SPECIAL, *(word for words in TELLING.values() for word in words), *FILLING]
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, "[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()  # type: ignore[assignment]
    tokenizer.post_processor = processors.TemplateProcessing(  # type: ignore[assignment]
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", words.index("[CLS]")), ("[SEP]", words.index("[SEP]"))],
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        unk_token="[UNK]",
        pad_token="[PAD]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        mask_token="[MASK]",
        model_input_names=["input_ids", "token_type_ids", "attention_mask"],
        model_max_length=64,
    )


def tiny_bert(
    folder: str | Path, *, layers: int = 2, width: int = 16, dropout: float = 0.1
) -> Path:
    """Save a tiny BERT encoder with fixed weights and its tokenizer; `folder` loads as a model."""
    tokenizer = tiny_tokenizer()
    config = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=width,
        num_hidden_layers=layers,
        num_attention_heads=2,
        intermediate_size=2 * width,
        max_position_embeddings=64,
        hidden_dropout_prob=dropout,
        attention_probs_dropout_prob=dropout,
        initializer_range=0.2,  # wide enough that so small a model can be told from noise
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        BertModel(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return Path(folder)


def tiny_texts(rows: int, *, classes: int = 3, seed: int = 0) -> list[dict[str, str]]:
    """`rows` different texts, classes in turn; each holds two words that give its class away."""
    draw = random.Random(seed)
    labels = list(TELLING)[:classes]
    texts: dict[str, str] = {}
    while len(texts) < rows:
        label = labels[len(texts) % classes]
        words = draw.choices(TELLING[label], k=2) + draw.choices(FILLING, k=draw.randint(3, 8))
        draw.shuffle(words)
        texts.setdefault(" ".join(words), label)
    return [{"text": text, "label": label} for text, label in texts.items()]


def tiny_csv(path: str | Path, rows: int = 120, *, classes: int = 3, seed: int = 0) -> Path:
    """Write `tiny_texts` as a CSV file with the columns text and label."""
    with open(path, "w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, ["text", "label"])
        writer.writeheader()
        writer.writerows(tiny_texts(rows, classes=classes, seed=seed))
    return Path(path)
