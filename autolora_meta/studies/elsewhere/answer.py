"""What comes back of a call in a process of another system: a value, or the error itself.

Ray and submitit hand on errors in a form of their own, which hides their kind and their words.
"""

import traceback
from collections.abc import Callable
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Answer:
    """What a call gave.

    Args:
        value: what it returned; None where it raised.
        error: what it raised, with the traceback as a note; None where it returned.
    """

    value: Any = None
    error: Exception | None = None


def answer(call: Callable[..., Any], /, *arguments: Any, **named: Any) -> Answer:
    """Return what the call gives, or raises."""
    try:
        return Answer(call(*arguments, **named))
    except Exception as error:
        error.add_note("".join(traceback.format_exception(error)))
        return Answer(error=error)


def settle(future: Future[Any], told: Answer | BaseException) -> None:
    """End a future with an answer, or with the reason why there is none.

    One that was called off meanwhile stays as it is.
    """
    error = told.error if isinstance(told, Answer) else told
    with suppress(InvalidStateError):
        if error is not None:
            future.set_exception(error)
        elif isinstance(told, Answer):
            future.set_result(told.value)
