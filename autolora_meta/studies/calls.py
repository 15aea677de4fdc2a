"""Calls of jobs, as a worker makes them: what they raise can travel between processes."""

import pickle
import traceback
from collections.abc import Callable, Sequence
from typing import Any


def readable(call: Callable[..., Any], *arguments: Any) -> Any:
    """What the call gives; an error that cannot travel between processes becomes one that can."""
    try:
        return call(*arguments)
    except Exception as error:
        if (told := _portable(error)) is error:
            raise
    raise told  # here, where the first error is not its context: that might be pickled with it


def each_readable(
    call: Callable[[Sequence[Any]], Sequence[Any]], arguments: Sequence[Any]
) -> list[Any]:
    """What the call of a bundle gives, with errors that can travel."""
    found = readable(call, arguments)
    return [_portable(one) if isinstance(one, Exception) else one for one in found]


def _portable(error: Exception) -> Exception:
    """Return the error, or one with its words where no other process could read it."""
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        told = RuntimeError(f"{type(error).__name__}: {error}")
        told.add_note("".join(traceback.format_exception(error)))
        return told
    return error
