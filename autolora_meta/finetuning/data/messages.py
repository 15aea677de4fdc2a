"""Messages as data sets hold them: role and content, or ShareGPT's from and value."""

from typing import Any

from autolora_meta.finetuning.data.conversation import ASSISTANT, Message

# Who speaks in ShareGPT's rows, and as whom chat templates know them.
SPEAKERS = {
    "human": "user",
    "user": "user",
    "gpt": ASSISTANT,
    "assistant": ASSISTANT,
    "chatgpt": ASSISTANT,
    "system": "system",
}
_ALLOWED = "a list of {role, content}, or of ShareGPT's {from, value}"


class Malformed(ValueError):
    """What a cell holds is no conversation; the message says why, without the place."""


def read(cell: Any) -> tuple[Message, ...]:
    """Return the messages of a cell.

    Args:
        cell: a list of mappings. Keys that are null are passed over, since a table gives every
            message the keys of all.

    Raises:
        Malformed: it holds something else.

    >>> read([{"from": "human", "value": "Hi."}])
    ({'role': 'user', 'content': 'Hi.'},)
    """
    if not isinstance(cell, list):
        raise Malformed(f"holds {_shown(cell)}; allowed is {_ALLOWED}")
    return tuple(_message(said, number) for number, said in enumerate(cell, start=1))


def _message(said: Any, number: int) -> Message:
    if not isinstance(said, dict):
        raise Malformed(f"holds {_shown(said)} as message {number}; allowed is {_ALLOWED}")
    there = {key: value for key, value in said.items() if value is not None}
    if there.get("tool_calls"):
        raise Malformed(
            f"has tool_calls in message {number}, which are not read; write the call into the "
            "message's content, or take the row out"
        )
    if "role" not in there and "from" in there:
        return {
            "role": _speaker(there["from"], number),
            "content": _content(there, "value", number),
        }
    role = there.get("role")
    if not isinstance(role, str) or not role.strip():
        raise Malformed(f"has no role in message {number} ({_shown(said)}); allowed is {_ALLOWED}")
    return {"role": role.strip(), "content": _content(there, "content", number)}


def _speaker(name: Any, number: int) -> str:
    role = SPEAKERS.get(name.strip().lower()) if isinstance(name, str) else None
    if role is None:
        raise Malformed(f"is from {name!r} in message {number}; allowed are {', '.join(SPEAKERS)}")
    return role


def _content(there: dict[str, Any], key: str, number: int) -> str:
    content = there.get(key)
    if isinstance(content, list) and all(
        isinstance(part, dict) and part.get("type") == "text" and isinstance(part.get("text"), str)
        for part in content
    ):
        return "".join(part["text"] for part in content)
    if not isinstance(content, str):
        raise Malformed(f"holds {_shown(content)} as the {key} of message {number}, not a text")
    return content


def _shown(value: Any) -> str:
    if value is None:
        return "nothing"
    words = str(value)
    return f"a {type(value).__name__} ({words[:60]}{'...' if len(words) > 60 else ''})"
