"""Roles: what a task asks of the data, one role for each column that it reads."""

from dataclasses import dataclass
from typing import Literal

Kind = Literal[
    "text",
    "class",
    "number",
    "tokens",
    "tags",
    "image",
    "references",
    "verbatim",
    "messages",
]
READ = ("text", "tokens", "image", "verbatim", "messages")  # kinds that a model is given to read


@dataclass(frozen=True)
class Role:
    """One column of the rows that a task gets.

    What the rows hold under `name`, by kind:

    * `text`: a string.
    * `class`: the number of a class, with a `datasets.ClassLabel` that knows the names.
    * `number`: a float64.
    * `tokens`: a list of strings, the words of a sentence.
    * `tags`: a list of class numbers, one for each token, of a `datasets.ClassLabel`.
    * `image`: a picture, decoded (PIL).
    * `references`: a string, what is to be written; the source may hold a string or a list of
      strings in each row. Training and validation have one row for each reference. Test rows have
      one row for each input, and the column `references` besides: the list of all that is said of
      it.
    * `verbatim`: a string, with the white space at its ends.
    * `messages`: a string that holds a conversation (`Conversation.of`).

    Args:
        name: our name of the column, and of the key in `data` that names the source's column.
        kind: what it holds.
        tried: columns of the source that are tried, in this order, where the person names none.
        required: whether rows cannot do without it.
        summary: a few words for messages: what the column is.

    Example:
        >>> Role("label", "class", ("label", "labels"), summary="the class").required
        True
    """

    name: str
    kind: Kind
    tried: tuple[str, ...]
    required: bool = True
    summary: str = ""


# Where the column of `text` was found by its name, that of `text_pair` is its partner.
PARTNERS = {
    "sentence1": "sentence2",
    "premise": "hypothesis",
    "question1": "question2",
    "question": "sentence",
    "text": "text_pair",
}

# The roles that most tasks share. Pairs stand before single sentences: QNLI has `question` and
# `sentence`.
TEXT = Role(
    "text",
    "text",
    ("text", *(name for name in PARTNERS if name != "text"), "sentence", "review", "content"),
    summary="the text",
)
TEXT_PAIR = Role(
    "text_pair", "text", tuple(PARTNERS.values()), required=False, summary="the second text"
)
LABEL = Role("label", "class", ("label", "labels", "class", "category", "target"), summary="class")
