"""A conversation: what somebody said in turn, and its text in a column of rows."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

ASSISTANT = "assistant"
Message = Mapping[str, str]  # role and content


@dataclass(frozen=True)
class Conversation:
    """Messages in their order.

    Args:
        messages: `role` and `content` of each. (n,)
        given: how many of them are a prompt, which a completion follows; 0: there is no such part.
    """

    messages: tuple[Message, ...]
    given: int = 0

    @property
    def answers(self) -> list[int]:
        """Places of the assistant's messages."""
        return [i for i, said in enumerate(self.messages) if said["role"] == ASSISTANT]

    def text(self) -> str:
        """Return it as JSON: rows of conversations are compared and kept as texts.

        >>> Conversation(({"role": "user", "content": "Hi."},)).text()
        '{"messages": [{"role": "user", "content": "Hi."}], "given": 0}'
        """
        found = {"messages": [dict(said) for said in self.messages], "given": self.given}
        return json.dumps(found, ensure_ascii=False)

    @classmethod
    def of(cls, text: str) -> Self:
        """Return the conversation that `text` wrote.

        >>> talk = Conversation(({"role": "user", "content": "Hi."},), 1)
        >>> Conversation.of(talk.text()) == talk
        True
        """
        found = json.loads(text)
        return cls(tuple(found["messages"]), found["given"])

    def __str__(self) -> str:
        """Return it for people.

        >>> print(Conversation(({"role": "user", "content": "Hi."},)))
        user: Hi.
        """
        return " | ".join(f"{said['role']}: {said['content']}" for said in self.messages)
