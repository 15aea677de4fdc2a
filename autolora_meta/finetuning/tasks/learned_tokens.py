"""Which tokens of a conversation, or of a prompt with its completion, are learned."""

from collections.abc import Sequence
from itertools import groupby

from transformers import PreTrainedTokenizerBase

from autolora_meta.errors import InputError
from autolora_meta.finetuning.data.conversation import ASSISTANT, Conversation
from autolora_meta.finetuning.tasks.chat_template import (
    marks_generation,
    refuse_unprefixed,
    rendered,
    with_marks,
)
from autolora_meta.finetuning.tasks.encoding import IGNORED
from autolora_meta.finetuning.tasks.options import LossOn

Tokens = tuple[list[int], list[bool]]  # ids, and whether each is learned
_WIDEST = 160  # characters of a run of tokens that is shown
_RUNS = 12


def learned(talk: Conversation, tokenizer: PreTrainedTokenizerBase, loss_on: LossOn) -> Tokens:
    """Return the tokens of a conversation, and which are learned.

    A template that marks what the assistant writes (`{% generation %}`) says it itself. Of others
    the messages before an answer are rendered with the generation prompt, and those with the
    answer: what the second text has more is the answer.

    Args:
        talk: the conversation.
        tokenizer: a fast one with a chat template.
        loss_on: `assistant`: all of its messages; `completion`: those behind the prompt, or the
            last one where there is no prompt; `all`: every token.

    Raises:
        InputError: the template refuses the conversation, or does not let answers be told apart.
    """
    if loss_on == "all":
        return spans(rendered(tokenizer, talk.messages), None, tokenizer)
    wanted = learned_answers(talk, loss_on)
    if not marks_generation(tokenizer):
        return spans(*_by_prefixes(talk, wanted, tokenizer), tokenizer)
    ids, marks = with_marks(tokenizer, talk.messages)
    if wanted == talk.answers:
        return ids, marks
    runs = [list(places) for marked, places in _runs(marks) if marked]
    if len(runs) != len(talk.answers):
        raise InputError(
            f"the chat template marks {len(runs)} stretches of a conversation with "
            f"{len(talk.answers)} messages of the {ASSISTANT}, so task.loss_on=completion cannot "
            "choose among them; set task.loss_on=assistant, or mark each message once"
        )
    kept = {place for run in runs[-len(wanted) :] for place in run} if wanted else set()
    return ids, [place in kept for place in range(len(ids))]


def learned_answers(talk: Conversation, loss_on: LossOn) -> list[int]:
    """Return the places of the messages that are learned: the last ones of the assistant, or all.

    >>> talk = Conversation(({"role": "assistant", "content": "Hi."},) * 3)
    >>> learned_answers(talk, "assistant"), learned_answers(talk, "completion")
    ([0, 1, 2], [2])
    """
    if loss_on != "completion":
        return talk.answers
    if not talk.given:
        return talk.answers[-1:]
    return [i for i in talk.answers if i >= talk.given]


def spans(
    text: str, wanted: Sequence[tuple[int, int]] | None, tokenizer: PreTrainedTokenizerBase
) -> Tokens:
    """Return the tokens of a text, and which of them have a part of a span.

    Args:
        text: with its special tokens.
        wanted: first character of each span, and the one behind it; None: all is wanted.
        tokenizer: a fast one.
    """
    found = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True, verbose=False)
    ids: list[int] = list(found["input_ids"])
    if wanted is None:
        return ids, [True] * len(ids)
    places: list[tuple[int, int]] = found["offset_mapping"]
    return ids, [any(a < end and start < b for a, b in wanted) for start, end in places]


def labels_of(ids: Sequence[int], marks: Sequence[bool]) -> list[int]:
    """Return the ids that are learned, and what the loss ignores in the place of the others."""
    return [token if marked else IGNORED for token, marked in zip(ids, marks, strict=True)]


def shown(ids: Sequence[int], labels: Sequence[int], tokenizer: PreTrainedTokenizerBase) -> str:
    """Return a row for people: what is learned of it stands in [[ ]]."""
    marks = [label != IGNORED for label in labels]
    words = []
    for marked, places in _runs(marks):
        text = str(tokenizer.decode([ids[place] for place in places])).replace("\n", "\\n")
        if len(text) > _WIDEST:
            text = f"{text[: _WIDEST // 2]} ... {text[-_WIDEST // 2 :]}"
        words.append(f"[[{text}]]" if marked else text)
    more = f" ... and {len(words) - _RUNS} more parts" if len(words) > _RUNS else ""
    return "".join(words[:_RUNS]) + more


def _by_prefixes(
    talk: Conversation, wanted: Sequence[int], tokenizer: PreTrainedTokenizerBase
) -> tuple[str, list[tuple[int, int]]]:
    whole = rendered(tokenizer, talk.messages)
    found = []
    for i in wanted:
        before = rendered(tokenizer, talk.messages[:i], prompt=True)
        after = rendered(tokenizer, talk.messages[: i + 1])
        refuse_unprefixed(before, after, i + 1)
        refuse_unprefixed(after, whole, i + 1)
        found.append((len(before), len(after)))
    return whole, found


def _runs(marks: Sequence[bool]) -> list[tuple[bool, list[int]]]:
    """Return the stretches of places with one mark."""
    each = groupby(range(len(marks)), key=marks.__getitem__)
    return [(marked, list(places)) for marked, places in each]
