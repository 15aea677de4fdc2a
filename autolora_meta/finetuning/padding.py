"""Padding: the side on which a model ignores it, found by a test.

The side depends on the model, not on its tokenizer. BERT and GPT-2 count positions from the left,
so padding there moves every word. XLNet answers from the last position, so it reads padding on the
right. FNet and convolutions read it on both sides.
"""

from collections.abc import Mapping
from typing import Any

import torch
from datasets import Dataset, DatasetDict
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from autolora_meta.errors import InputError
from autolora_meta.finetuning.batch_order import Collate
from autolora_meta.finetuning.tasks import TASKS, Say, Task
from autolora_meta.finetuning.tasks.encoding import padded_on
from autolora_meta.foundation.randomness import RandomState, replay

_ROUNDING = {4: 2e-5, 2: 1e-2}  # bytes of a number -> share of the loss that is not the padding's
_LONG = 256  # tokens: a longer row is measured only where there is no shorter one


def hide_padding(
    task: Task,
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    rows: DatasetDict,
    say: Say,
) -> bool:
    """Set the tokenizer to the side on which the model ignores padding.

    The loss of the shortest row alone is compared with its loss beside a longer one. The right is
    tried first, since padding there moves no position. A task that pads in its own way, such as
    those of language models, leaves the tokenizer alone.

    Args:
        task: gives the collator and the loss.
        model: in eval mode.
        tokenizer: its `padding_side` is changed in place.
        rows: encoded rows.
        say: told when the side is changed, and when the model reads padding on both.

    Returns:
        False if the model reads padding on both sides.

    Raises:
        InputError: the model cannot take a row.
    """
    pair = _short_and_long(rows)
    if pair is None:
        return True
    gaps: dict[str, float] = {}
    for side in ("right", "left"):
        try:
            gaps[side] = _gap(task, model, task.collator(padded_on(side, tokenizer)), *pair)
        except Exception as error:
            if type(task) in TASKS.values():
                raise InputError(_unreadable(model, error)) from error
            return True  # a loss of somebody's own that is not one of single rows
        if gaps[side] <= _ROUNDING.get(model.dtype.itemsize, 2e-5):
            _pad_on(side, task, model, tokenizer, pair, say)
            return True
    _pad_on(min(gaps, key=gaps.__getitem__), task, model, tokenizer, pair, say)
    say(
        f"{type(model).__name__} reads padding on both sides (it changes the loss of a row by "
        f"{min(gaps.values()):.1g}): test rows are read one at a time; "
        "retrain.group_by_length=true pads less in training"
    )
    return False


def _short_and_long(rows: DatasetDict) -> tuple[dict[str, Any], dict[str, Any]] | None:
    """Return the shortest row and a longer one, or None if all have one length, or none."""
    found: dict[int, tuple[Dataset, int]] = {}
    for part in rows.values():
        if "input_ids" in part.column_names:
            for i, ids in enumerate(part.with_format(None)["input_ids"]):
                found.setdefault(len(ids), (part, i))
    lengths = sorted(found)
    if len(lengths) < 2:
        return None
    longest = max(length for length in lengths if length <= max(_LONG, lengths[1]))
    (short, i), (long, j) = found[lengths[0]], found[longest]
    return short.__getitems__([i])[0], long.__getitems__([j])[0]


@torch.no_grad()
def _gap(
    task: Task, model: PreTrainedModel, collate: Collate, short: Mapping[str, Any], long: Any
) -> float:
    """Return |loss padded - loss alone| of the short row, as a share of the latter, at least 1."""
    both, single = (
        {name: values.to(model.device) for name, values in collate(rows).items()}
        for rows in ([dict(short), dict(long)], [dict(short)])
    )
    first = {name: values[:1] for name, values in both.items()}
    with replay(RandomState.snapshot()):
        alone = task.loss(model, single).item()
        padded = task.loss(model, first).item()
    gap = abs(padded - alone) / max(1.0, abs(alone))
    return gap if gap == gap else float("inf")


def _pad_on(
    side: str,
    task: Task,
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    pair: Any,
    say: Say,
) -> None:
    """Set the tokenizer's side, if it has another and the task pads on the tokenizer's side."""
    own = tokenizer.padding_side
    before, after = (
        task.collator(padded_on(s, tokenizer))([dict(row) for row in pair])["input_ids"]
        for s in (own, side)
    )
    if torch.equal(before, after):
        return
    tokenizer.padding_side = side
    tokenizer.init_kwargs["padding_side"] = side  # else the saved one has its class's side
    say(
        f"the tokenizer pads on the {own}, and {type(model).__name__} needs padding on the {side}: "
        "texts are padded there, also by the saved tokenizer"
    )


def _unreadable(model: PreTrainedModel, error: Exception) -> str:
    reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
    return (
        f"{type(model).__name__} cannot take a text of these rows: {reason}; look at what the "
        "model's configuration asks of its inputs, or take another model"
    )
