"""Signals that wait until work is saved."""

import os
import signal
import threading

import pytest

from autolora_meta.foundation.interrupts import waiting

pytestmark = pytest.mark.usefixtures("both_signals")


def test_the_first_signal_waits_for_the_work_to_be_saved() -> None:
    done: list[str] = []
    with pytest.raises(KeyboardInterrupt), waiting() as stop:
        stop.now()
        assert not stop.asked
        os.kill(os.getpid(), signal.SIGINT)
        done.append("a step")
        assert stop.asked
        stop.now()
        done.append("another step")
    assert done == ["a step"]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_second_signal_does_not_wait() -> None:
    done: list[str] = []
    with pytest.raises(KeyboardInterrupt), waiting():
        os.kill(os.getpid(), signal.SIGINT)
        done.append("a step")
        os.kill(os.getpid(), signal.SIGINT)
        done.append("another step")
    assert done == ["a step"]


def test_a_signal_at_the_end_still_ends_the_process() -> None:
    with pytest.raises(KeyboardInterrupt), waiting():
        os.kill(os.getpid(), signal.SIGINT)


def test_what_is_ignored_is_still_ignored() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with waiting() as stop:
        os.kill(os.getpid(), signal.SIGINT)
        assert not stop.asked
    assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN


def test_another_thread_holds_nothing_back() -> None:
    def work() -> None:
        with waiting():
            handlers.append(signal.getsignal(signal.SIGINT))

    handlers: list[object] = []
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert handlers == [signal.getsignal(signal.SIGINT)]
