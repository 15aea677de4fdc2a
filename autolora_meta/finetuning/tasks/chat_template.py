"""Chat templates: a conversation as the text that a model reads."""

import os
import re
from collections.abc import Sequence
from typing import Any

from jinja2 import TemplateError
from transformers import PreTrainedTokenizerBase

from autolora_meta.errors import InputError
from autolora_meta.finetuning.data.conversation import Conversation, Message
from autolora_meta.finetuning.hub import path_of

_MARK = re.compile(r"\{%-?\s*generation\s*-?%\}")
_SHOWN = 100


def read_template(given: str) -> str:
    """Return a chat template: `given` itself where it has a tag of Jinja's, else the file there.

    Raises:
        InputError: there is no such file, or it is no text.
    """
    if "{{" in given or "{%" in given:
        return given
    try:
        return path_of(given).read_text(encoding="utf-8")
    except (OSError, ValueError):
        why = "is no text file" if os.path.exists(path_of(given)) else "does not exist"
        raise InputError(
            f"task.chat_template '{given}' {why}; give the path of a Jinja file, or the template's "
            "text, which holds {{ or {%"
        ) from None


def refuse_without_template(tokenizer: PreTrainedTokenizerBase) -> None:
    """Refuse a tokenizer that cannot write conversations, or whose tokens have no place in them.

    Raises:
        InputError: it is one.
    """
    if not tokenizer.chat_template:
        raise InputError(
            "the rows are conversations, and the tokenizer has no chat template: give one with "
            "task.chat_template=FILE.jinja, take the instruction-tuned form of the model, or name "
            "columns of plain texts (data.text)"
        )
    if not tokenizer.is_fast:
        raise InputError(
            f"{type(tokenizer).__name__} does not tell where in a text a token stands, so the "
            "assistant's cannot be found; take a model with a fast tokenizer"
        )


def marks_generation(tokenizer: PreTrainedTokenizerBase) -> bool:
    """Return whether the template says what the assistant writes: `{% generation %}`."""
    return bool(_MARK.search(tokenizer.get_chat_template()))


def rendered(
    tokenizer: PreTrainedTokenizerBase, messages: Sequence[Message], *, prompt: bool = False
) -> str:
    """Return messages as the text that a model reads.

    Args:
        tokenizer: with a chat template.
        messages: of a conversation.
        prompt: end with what stands before a message of the assistant.

    Raises:
        InputError: the template is broken, or refuses the messages.
    """
    return _applied(tokenizer, messages, tokenize=False, add_generation_prompt=prompt)


def with_marks(
    tokenizer: PreTrainedTokenizerBase, messages: Sequence[Message]
) -> tuple[list[int], list[bool]]:
    """Return token ids of messages, and which of them the template marks as the assistant's.

    Raises:
        InputError: the template is broken, or refuses the messages.
    """
    found = _applied(
        tokenizer, messages, tokenize=True, return_dict=True, return_assistant_tokens_mask=True
    )
    return list(found["input_ids"]), [bool(mark) for mark in found["assistant_masks"]]


def refuse_unprefixed(start: str, whole: str, turn: int) -> None:
    """Refuse a template that writes the beginning of a conversation otherwise in the whole of it.

    Args:
        start: what is rendered of the messages before `turn`, or to its end.
        whole: what is rendered of more of them.
        turn: number of the message, from 1.

    Raises:
        InputError: it is one.
    """
    if not whole.startswith(start):
        raise InputError(
            "the chat template does not mark what the assistant writes, and renders the messages "
            f"before message {turn} otherwise than in the whole conversation, so its tokens cannot "
            "be told apart: put {% generation %} and {% endgeneration %} around the assistant's "
            "content (task.chat_template=FILE.jinja), or set task.loss_on=all"
        )


def _applied(tokenizer: PreTrainedTokenizerBase, messages: Sequence[Message], **how: Any) -> Any:
    try:
        return tokenizer.apply_chat_template([dict(said) for said in messages], **how)
    except (TemplateError, ValueError, TypeError, LookupError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        shown = str(Conversation(tuple(messages)))
        more = "..." if len(shown) > _SHOWN else ""
        roles = ", ".join(dict.fromkeys(said["role"] for said in messages))
        raise InputError(
            f"the chat template refuses a conversation with the roles {roles}: {reason} "
            f"({shown[:_SHOWN]}{more}); mend the row, or give another task.chat_template"
        ) from None
