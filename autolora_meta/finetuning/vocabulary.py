"""Tokenizer and embedding: a padding token that the model has, and ids that it lacks."""

import sys
from inspect import signature

import numpy as np
from datasets import DatasetDict
from torch import nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from autolora_meta.errors import InputError


def set_padding(tokenizer: PreTrainedTokenizerBase, model: PreTrainedModel, name: str) -> None:
    """Set one padding token, which the embedding holds, for tokenizer and model.

    The attention mask hides padding, so any token serves: the tokenizer's own, else the end of a
    text, else the unknown token. If a padding token was added without resizing the model, its id
    lies past the end of the embedding. A tokenizer that gives no mask to a model that takes one is
    set to give it.

    Args:
        tokenizer: changed in place.
        model: its configuration is changed in place.
        name: of the model, for the message.

    Raises:
        InputError: the embedding holds none of the three.
    """
    size = _size(model)
    found = (tokenizer.pad_token, tokenizer.eos_token, tokenizer.unk_token)
    for token in (token for token in found if token is not None):
        found_id = tokenizer.convert_tokens_to_ids(str(token))
        if isinstance(found_id, int) and 0 <= found_id < size:
            tokenizer.pad_token = token
            # Heads for classes look for the last token of a text by the inner configuration.
            for config in (model.config, model.config.get_text_config()):
                config.pad_token_id = tokenizer.pad_token_id
            _ask_for_mask(tokenizer, model)
            return
    raise InputError(
        f"the tokenizer of model.name '{name}' has no padding token that the model holds, and "
        "neither an end-of-text nor an unknown token to take in its place; set one "
        "(tokenizer.pad_token = '...') and save the tokenizer into the model's folder"
    )


def _ask_for_mask(tokenizer: PreTrainedTokenizerBase, model: PreTrainedModel) -> None:
    names = tokenizer.model_input_names
    if "attention_mask" in names or "attention_mask" not in signature(model.forward).parameters:
        return
    tokenizer.model_input_names = [*names, "attention_mask"]
    tokenizer.init_kwargs["model_input_names"] = tokenizer.model_input_names  # and when saved


def refuse_foreign_ids(
    rows: DatasetDict, tokenizer: PreTrainedTokenizerBase, model: PreTrainedModel
) -> None:
    """Refuse encoded rows with tokens that the model has no embedding for.

    Raises:
        InputError: there are some; the message names a token, its split and its row.
    """
    size = _size(model)
    for split, part in rows.items():
        if "input_ids" not in part.column_names:
            continue
        for row, ids in enumerate(part.with_format(None)["input_ids"]):
            largest = int(np.max(ids, initial=0))
            if largest >= size:
                token = tokenizer.convert_ids_to_tokens(largest)
                raise InputError(
                    f"the tokenizer and the model do not fit: row {row + 1} of {split} holds the "
                    f"token '{token}' with id {largest}, and the embedding of "
                    f"{model.config.name_or_path} has {size} rows. Take the tokenizer that came "
                    "with the model, or resize the model (model.resize_token_embeddings) and "
                    "train the new rows before a search"
                )


def _size(model: PreTrainedModel) -> int:
    """Return the number of rows of the input embedding; a huge number if characters are hashed."""
    try:
        table = model.get_input_embeddings()
    except NotImplementedError:
        return sys.maxsize
    return (
        table.num_embeddings
        if isinstance(table, nn.Embedding)
        else model.config.get_text_config().vocab_size
    )
