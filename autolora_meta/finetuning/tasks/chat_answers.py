"""Conversations before an answer of the assistant, and the answers, as tokens."""

from collections.abc import Sequence

from transformers import PreTrainedTokenizerBase

from autolora_meta.errors import InputError
from autolora_meta.finetuning.data.conversation import ASSISTANT, Conversation
from autolora_meta.finetuning.tasks.base import Say
from autolora_meta.finetuning.tasks.chat_template import refuse_unprefixed, rendered
from autolora_meta.finetuning.tasks.learned_tokens import spans
from autolora_meta.finetuning.tasks.options import TaskOptions


def asked(talks: Sequence[str], tokenizer: PreTrainedTokenizerBase) -> list[list[int]]:
    """Return the token ids of conversations, up to where the assistant's answer begins.

    Args:
        talks: as `Conversation.of` reads them. (n,)
        tokenizer: a fast one with a chat template.
    """
    texts = (rendered(tokenizer, Conversation.of(talk).messages, prompt=True) for talk in talks)
    return [spans(text, None, tokenizer)[0] for text in texts]


def answered(
    talks: Sequence[str], answers: Sequence[str], tokenizer: PreTrainedTokenizerBase
) -> list[tuple[list[int], list[int]]]:
    """Return the token ids of conversations and those of the answers that follow.

    Args:
        talks: as `Conversation.of` reads them. (n,)
        answers: the assistant's next message in each. (n,)
        tokenizer: a fast one with a chat template.

    Raises:
        InputError: the template refuses a conversation, or does not let answers be told apart.
    """
    found = []
    for text, answer in zip(talks, answers, strict=True):
        messages = Conversation.of(text).messages
        before = rendered(tokenizer, messages, prompt=True)
        whole = rendered(tokenizer, [*messages, {"role": ASSISTANT, "content": answer}])
        refuse_unprefixed(before, whole, len(messages) + 1)
        ids, marks = spans(whole, [(len(before), len(whole))], tokenizer)
        first = marks.index(True) if True in marks else len(ids)
        found.append((ids[:first], ids[first:]))
    return found


def refuse_unsuited_to_write(
    options: TaskOptions, *, chat_rows: bool, encoder_decoder: bool
) -> None:
    """Refuse options, and a base, that do not suit what is to be written.

    Raises:
        InputError: there are some.
    """
    if not chat_rows and options.chat_template is not None:
        raise InputError(
            "task.chat_template is given, and the rows are plain texts, which no template writes; "
            "take it out, or give rows of messages"
        )
    if chat_rows and encoder_decoder:
        raise InputError(
            "the rows are conversations, and the model is an encoder-decoder; take a causal model "
            "(Llama, GPT-2), or columns of texts (data.text, data.target)"
        )
    if chat_rows and options.truncation_side == "right":
        raise InputError(
            "task.truncation_side=right would cut off what was asked last, and the rows are "
            "conversations; take it out, and the oldest messages are cut"
        )


def say_endless(
    labels: Sequence[Sequence[int]], tokenizer: PreTrainedTokenizerBase, say: Say
) -> None:
    """Warn where no answer holds the token at which writing ends."""
    if not any(tokenizer.eos_token_id in row for row in labels):
        say(
            f"warning: no answer holds {tokenizer.eos_token}, the token at which writing ends: "
            "the chat template ends the assistant's message otherwise (set the tokenizer's "
            "eos_token to what it ends with), or all answers are cut"
        )
