"""Encoding of texts and pairs as token ids."""

import copy
from collections.abc import Mapping, Sequence
from typing import Any

from datasets import Dataset
from transformers import PreTrainedTokenizerBase

from autolora_meta.finetuning.tasks.base import Say

IGNORED = -100  # the label that no loss of torch or transformers counts


def token_limit(max_length: int, tokenizer: PreTrainedTokenizerBase) -> int:
    """Return the tokens of the longest input: `max_length`, or the tokenizer's limit if less."""
    return min(max_length, tokenizer.model_max_length)


def say_cut(lengths: Sequence[int], limit: int, say: Say) -> None:
    """Say how many texts, given their lengths in tokens, are longer than the limit."""
    if cut := sum(length > limit for length in lengths):
        say(f"{cut} of {len(lengths)} texts are longer than {limit} tokens: cut")


def cut(ids: Sequence[int], limit: int, side: str | None) -> list[int]:
    """Return the tokens without those that are too many, which go on the right or the left.

    >>> cut([1, 2, 3], 2, None), cut([1, 2, 3], 2, "left"), cut([1, 2, 3], 0, "left")
    ([1, 2], [2, 3], [])
    """
    return list(ids[max(len(ids) - limit, 0) :] if side == "left" else ids[:limit])


def cut_on(side: str | None, tokenizer: PreTrainedTokenizerBase) -> PreTrainedTokenizerBase:
    """Return the tokenizer, or a copy of it that cuts on this side; None: as it is."""
    if side is None:
        return tokenizer
    other = copy.copy(tokenizer)
    other.truncation_side = side
    return other


def encode_texts(
    rows: Dataset, tokenizer: PreTrainedTokenizerBase, max_length: int, say: Say
) -> dict[str, Any]:
    """Return token ids of texts or pairs, not padded.

    Args:
        rows: columns text and text_pair (optional).
        tokenizer: the model's.
        max_length: tokens that a text, or a pair together, is cut to.
        say: told how many texts were cut.
    """
    texts = list(rows["text"])
    pairs = list(rows["text_pair"]) if "text_pair" in rows.column_names else None
    # Encoded whole first, since a tokenizer does not tell which texts it cut.
    lengths = [len(ids) for ids in tokenizer(texts, pairs, verbose=False)["input_ids"]]
    limit = token_limit(max_length, tokenizer)
    encoded = dict(tokenizer(texts, pairs, truncation=True, max_length=limit))
    say_cut(lengths, limit, say)
    return encoded


def labelled(batch: Mapping[str, Any], *, shifted: bool) -> int:
    """Return the number of labels of a batch that a loss counts.

    Args:
        batch: with `labels`. (B, T)
        shifted: the first label of a row is not predicted, as in a causal model.
    """
    return int((batch["labels"][:, int(shifted) :] != IGNORED).sum())


def padded_on(side: str, tokenizer: PreTrainedTokenizerBase) -> PreTrainedTokenizerBase:
    """Return the tokenizer, or a copy of it, that pads on this side."""
    other = copy.copy(tokenizer)
    other.padding_side = side
    return other
