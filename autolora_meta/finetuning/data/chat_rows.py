"""From the columns of a chat, in any of the formats, to conversations: one a row."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from datasets import Dataset

from autolora_meta.errors import InputError
from autolora_meta.finetuning.data import formats, messages
from autolora_meta.finetuning.data.columns import GROUP, choose
from autolora_meta.finetuning.data.conversation import ASSISTANT, Conversation, Message
from autolora_meta.finetuning.data.messages import Malformed
from autolora_meta.finetuning.data.options import DataOptions
from autolora_meta.finetuning.data.part import Part, Parts, values
from autolora_meta.finetuning.data.roles import Role
from autolora_meta.foundation.progress import Say

MESSAGES = "messages"
TARGET = "target"
_CHAT = (Role(MESSAGES, "messages", (), summary="the messages"),)
_TO_WRITE = (*_CHAT, Role(TARGET, "references", (), summary="the last turn of the assistant"))
Cells = Mapping[str, Any]  # of one row, by role


def read_columns(
    parts: Parts, roles: Sequence[Role], options: DataOptions, say: Say, *, chat: bool
) -> tuple[Parts, dict[str, str], tuple[Role, ...]]:
    """Return the splits, the column of each role, and the roles that the rows have.

    Rows of a chat get the column `messages`, which holds conversations; and where the task writes
    a text (it has a role of the kind `references`), the column `target`: the assistant's last
    message, which is then no longer among the messages.

    Args:
        parts: splits of the source, with its own columns.
        roles: of plain texts, which the task reads.
        options: columns that the person names.
        say: told what is read.
        chat: whether the task reads conversations too.

    Raises:
        InputError: columns are missing or of several formats, or a row is no conversation.
    """
    if not chat:
        return parts, choose(parts, roles, options, say), tuple(roles)
    writes = any(role.kind == "references" for role in roles)
    asked = formats.format_of(parts, roles, options)
    chosen = choose(parts, asked, options, say)
    first = next(iter(parts.values())).rows
    if asked in (formats.MESSAGES, formats.SHAREGPT):
        made = _of_messages
    elif asked == formats.INSTRUCTION:
        made = _of_instruction
    elif asked == formats.PROMPT_COMPLETION:
        texts = {
            name: formats.is_text(first, column) for name, column in chosen.items() if name != GROUP
        }
        if len(set(texts.values())) > 1:
            text, other = sorted(texts, key=lambda name: not texts[name])
            raise InputError(
                f"column '{chosen[text]}' holds texts and '{chosen[other]}' messages; both are "
                "texts, or lists of messages"
            )
        if texts["prompt"]:
            return parts, *(_as_plain(chosen, roles) if writes else (chosen, asked))
        made = _of_prompt
    else:
        return parts, chosen, asked
    talks = {name: _converted(part, chosen, made, writes) for name, part in parts.items()}
    columns = {MESSAGES: MESSAGES} | ({TARGET: TARGET} if writes else {})
    return (
        talks,
        columns | ({GROUP: GROUP} if GROUP in chosen else {}),
        _TO_WRITE if writes else _CHAT,
    )


def _as_plain(
    chosen: Mapping[str, str], roles: Sequence[Role]
) -> tuple[dict[str, str], tuple[Role, ...]]:
    """Return the columns prompt and completion as those of the task's own roles."""
    kinds = {role.kind: role.name for role in roles}
    new = {"prompt": kinds["text"], "completion": kinds["references"]}
    return {new.get(name, name): column for name, column in chosen.items()}, tuple(roles)


def _converted(
    part: Part, chosen: Mapping[str, str], made: Callable[[Cells], Conversation], writes: bool
) -> Part:
    """Return the split with a conversation in the place of its columns; null where one is null."""
    columns = {role: values(part.rows, column) for role, column in chosen.items() if role != GROUP}
    found: dict[str, list[str | None]] = {MESSAGES: []} | ({TARGET: []} if writes else {})
    for i, cells in enumerate(zip(*columns.values(), strict=True)):
        row = dict(zip(columns, cells, strict=True))
        talk, target = None, None
        if all(value is not None for role, value in row.items() if role != "input"):
            try:
                talk = made(row)
                if writes and talk.messages:
                    talk, target = _asked(talk)
            except Malformed as why:
                names = " and ".join(f"'{chosen[role]}'" for role in columns)
                raise InputError(f"{part.place(i)}: column {names} {why}") from None
        found[MESSAGES].append(None if talk is None else talk.text() if talk.messages else "")
        if writes:
            found[TARGET].append(target if talk is None or talk.messages else "")
    if GROUP in chosen:
        found[GROUP] = values(part.rows, chosen[GROUP])
    return replace(part, rows=Dataset.from_dict(found))


def _asked(talk: Conversation) -> tuple[Conversation, str]:
    """Return what stands before the assistant's last message, and that message."""
    if not talk.answers:
        roles = ", ".join(dict.fromkeys(said["role"] for said in talk.messages))
        raise Malformed(
            f"has no message of the {ASSISTANT}, which would be written (roles there: {roles}); "
            "add one, or take the row out"
        )
    last = talk.answers[-1]
    return Conversation(talk.messages[:last]), talk.messages[last]["content"]


def _of_messages(row: Cells) -> Conversation:
    return Conversation(messages.read(row["messages"]))


def _of_prompt(row: Cells) -> Conversation:
    prompt = messages.read(row["prompt"])
    return Conversation((*prompt, *messages.read(row["completion"])), len(prompt))


def _of_instruction(row: Cells) -> Conversation:
    texts = [_text(row, "instruction"), _text(row, "input") if row.get("input") else ""]
    asked: Message = {"role": "user", "content": "\n\n".join(text for text in texts if text)}
    return Conversation((asked, {"role": ASSISTANT, "content": _text(row, "output")}), 1)


def _text(row: Cells, name: str) -> str:
    if not isinstance(row[name], str):
        raise Malformed(f"holds a {type(row[name]).__name__} as the {name}, not a text")
    return row[name].strip()
