"""An input and its completion as a row of tokens, for a causal or an encoder-decoder model."""

from collections.abc import Sequence

from transformers import PreTrainedTokenizerBase

from autolora_meta.finetuning.tasks.base import Say
from autolora_meta.finetuning.tasks.encoding import IGNORED, cut, cut_on, say_cut, token_limit
from autolora_meta.finetuning.tasks.options import Side

Columns = dict[str, list[list[int]]]


def causal_rows(
    pairs: Sequence[tuple[list[int], list[int]]],
    separator: list[int],
    limit: int,
    side: Side | None,
    say: Say,
) -> Columns:
    """Return rows of input, separator and completion; the labels are the completion alone.

    Args:
        pairs: token ids of inputs and completions, with the token that ends a text.
        separator: token ids between the two.
        limit: tokens of a row. The input gives way first, and the completion when it alone is too
            long.
        side: on which the input is cut; None: the right.
        say: told how many were cut.
    """
    rows: Columns = {"input_ids": [], "attention_mask": [], "labels": []}
    lengths = []
    for text, completion in pairs:
        lengths.append(len(text) + len(separator) + len(completion))
        prompt = cut(text, max(limit - len(separator) - len(completion), 1), side) + separator
        rest = completion[: limit - len(prompt)]
        rows["input_ids"].append(prompt + rest)
        rows["attention_mask"].append([1] * len(prompt + rest))
        rows["labels"].append([IGNORED] * len(prompt) + rest)
    say_cut(lengths, limit, say)
    return rows


def encoder_decoder_rows(
    texts: list[str],
    targets: list[str],
    tokenizer: PreTrainedTokenizerBase,
    max_length: int,
    side: Side | None,
    say: Say,
) -> Columns:
    """Return rows of an input for the encoder and a text for the decoder.

    Args:
        texts, targets: inputs and completions. (n,)
        tokenizer: of the model.
        max_length: tokens of each.
        side: on which inputs are cut; None: as the tokenizer says.
        say: told how many were cut.
    """
    limit = token_limit(max_length, tokenizer)
    inputs = tokenizer(texts, verbose=False)["input_ids"]
    outputs = tokenizer(text_target=targets, verbose=False)["input_ids"]
    say_cut([max(map(len, pair)) for pair in zip(inputs, outputs, strict=True)], limit, say)
    return {
        **cut_on(side, tokenizer)(texts, truncation=True, max_length=limit),
        "labels": tokenizer(text_target=targets, truncation=True, max_length=limit)["input_ids"],
    }
