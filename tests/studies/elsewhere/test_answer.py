"""What comes back of a call elsewhere: the error itself, and where it arose."""

import pickle
from concurrent.futures import Future

import pytest

from autolora_meta.errors import InputError
from autolora_meta.studies.elsewhere.answer import answer, settle


def refuses(given: int) -> int:
    raise InputError(f"{given} is odd; give an even number")


def test_an_error_keeps_its_kind_its_words_and_its_place_on_the_way() -> None:
    future: Future[int] = Future()
    settle(future, pickle.loads(pickle.dumps(answer(refuses, 3))))
    with pytest.raises(InputError, match="3 is odd; give an even number") as raised:
        future.result()
    assert "in refuses" in "".join(raised.value.__notes__)


def test_a_future_that_was_called_off_stays_so() -> None:
    future: Future[int] = Future()
    future.cancel()
    settle(future, answer(abs, -1))
    assert future.cancelled()
