"""Rows of a chat as tokens: what is learned of each, what of it is said, and what is refused."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from datasets import Dataset, DatasetDict
from transformers import PreTrainedTokenizerBase

from autolora_meta.errors import InputError
from autolora_meta.finetuning.data.conversation import ASSISTANT, Conversation
from autolora_meta.finetuning.data.part import values
from autolora_meta.finetuning.tasks.base import Say
from autolora_meta.finetuning.tasks.chat_template import refuse_without_template
from autolora_meta.finetuning.tasks.encoding import IGNORED
from autolora_meta.finetuning.tasks.learned_tokens import (
    Tokens,
    learned,
    learned_answers,
    shown,
)
from autolora_meta.finetuning.tasks.options import LossOn, TaskOptions

MESSAGES, PROMPT, COMPLETION = "messages", "prompt", "completion"  # columns


def is_chat(rows: Dataset) -> bool:
    """Return whether rows are conversations, or prompts with completions."""
    return MESSAGES in rows.column_names or PROMPT in rows.column_names


def chat_tokens(
    row: Mapping[str, Any], tokenizer: PreTrainedTokenizerBase, loss_on: LossOn | None
) -> Tokens:
    """Return the tokens of a row, not cut, and which of them are learned.

    Args:
        row: messages (`Conversation.of` reads them), or prompt and completion.
        tokenizer: of the model.
        loss_on: what is learned; None: the completion of a prompt, else all that the assistant
            says.

    Raises:
        InputError: the tokenizer cannot tell.
    """
    if MESSAGES not in row:
        return _completed(row[PROMPT], row[COMPLETION], tokenizer, loss_on)
    talk = Conversation.of(row[MESSAGES])
    return learned(talk, tokenizer, _wanted(talk, loss_on))


def refuse_unsuited(options: TaskOptions, rows: DatasetDict) -> None:
    """Refuse options that rows do not suit, and conversations in which nothing would be learned.

    Raises:
        InputError: there are some.
    """
    columns = rows["train"].column_names
    if MESSAGES not in columns:
        kind = "prompts and completions as texts" if PROMPT in columns else "plain texts"
        if options.chat_template is not None:
            raise InputError(
                f"task.chat_template is given, and the rows are {kind}, which no template writes; "
                "take it out, or give lists of messages"
            )
        allowed = ("completion", "all") if PROMPT in columns else ("all",)
        if options.loss_on not in (None, *allowed):
            raise InputError(
                f"task.loss_on is '{options.loss_on}', and the rows are {kind}; allowed is "
                f"{' or '.join(allowed)}, or give rows of messages"
            )
        return
    for split, part in rows.items():
        talks = [Conversation.of(text) for text in values(part, MESSAGES)]
        wanted = [_wanted(talk, options.loss_on) for talk in talks]
        if silent := [
            talk
            for talk, on in zip(talks, wanted, strict=True)
            if on in ("assistant", "completion") and not learned_answers(talk, on)
        ]:
            where = "completion" if silent[0].given else "conversation"
            raise InputError(
                f"{len(silent)} of {len(talks)} {split} rows have no message of the {ASSISTANT} in "
                f"their {where}, so nothing of them would be learned, for example "
                f"'{str(silent[0])[:80]}'; take them out, or set task.loss_on=all"
            )


def refuse_early(
    rows: DatasetDict,
    tokenizer: Callable[[], PreTrainedTokenizerBase],
    encode: Callable[[Mapping[str, Any], PreTrainedTokenizerBase], Any],
) -> None:
    """Refuse a tokenizer that cannot encode the first row of each split.

    Args:
        rows: splits.
        tokenizer: loads it; it is not asked for plain texts.
        encode: of a row.

    Raises:
        InputError: it is one.
    """
    if not is_chat(rows["train"]):
        return
    words = tokenizer()
    if MESSAGES in rows["train"].column_names:
        refuse_without_template(words)
    for part in rows.values():
        encode(part[0], words)


def say_learned(labels: Sequence[Sequence[int]], rows: int, limit: int, say: Say) -> None:
    """Say how many tokens are learned, and how many rows have none.

    Args:
        labels: of the rows that have some.
        rows: how many there were.
        limit: tokens that they were cut to.
        say: told.

    Raises:
        InputError: no row has any.
    """
    if not labels:
        raise InputError(
            f"in none of {rows} rows there is anything left to learn within {limit} tokens; "
            "make task.max_length larger, or cut on the other side (task.truncation_side)"
        )
    if rows > len(labels):
        say(f"{rows - len(labels)} of {rows} rows left out: nothing of them is left to learn")
    tokens = sum(map(len, labels))
    count = sum(label != IGNORED for row in labels for label in row)
    say(f"{count:,} of {tokens:,} tokens are learned ({count / tokens:.0%})")


def example(rows: Dataset, tokenizer: PreTrainedTokenizerBase) -> str | None:
    """Return the first row with what is learned of it in [[ ]]; None: all of every row is."""
    row = rows[0]
    if all(IGNORED not in labels for labels in values(rows, "labels")):
        return None
    words = shown(row["input_ids"], row["labels"], tokenizer)
    return f"learned of the first training row, in [[ ]]: {words}"


def _wanted(talk: Conversation, loss_on: LossOn | None) -> LossOn:
    return loss_on or ("completion" if talk.given else "assistant")


def _completed(
    prompt: str, completion: str, tokenizer: PreTrainedTokenizerBase, loss_on: LossOn | None
) -> Tokens:
    """Return the tokens of prompt, completion and the token that ends a text."""
    end = tokenizer.eos_token_id
    if end is None or not tokenizer.is_fast:
        raise InputError(
            f"{type(tokenizer).__name__} "
            + ("has no token that ends a text" if end is None else "does not tell where tokens are")
            + ", which completions need; take another tokenizer, or rows of plain texts"
        )
    found = tokenizer(prompt + completion, return_offsets_mapping=True, verbose=False)
    ids: list[int] = list(found["input_ids"])
    marks = [stop > len(prompt) for _, stop in found["offset_mapping"]]
    if ids[-1] != end:
        ids, marks = [*ids, end], [*marks, True]
    marks[-1] = True
    return ids, [True] * len(ids) if loss_on == "all" else marks
