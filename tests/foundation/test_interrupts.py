"""Signals that wait until work is saved."""

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

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


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_in_an_import_is_answered_when_that_is_over(
    tmp_path: Path, number: signal.Signals
) -> None:
    (tmp_path / "swallows.py").write_text(
        "import signal, time\n"
        "try:\n"
        f"    signal.raise_signal({int(number)})\n"
        "    time.sleep(0.2)\n"
        "except BaseException:\n"
        "    raise ModuleNotFoundError('as packages say it') from None\n"
    )
    script = (
        "import signal, time\n"
        "from autolora_meta.foundation.interrupts import answering\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # a shell may ignore it
        "try:\n"
        "    with answering():\n"
        "        import swallows\n"
        "        time.sleep(10)\n"
        "except KeyboardInterrupt:\n"
        "    print('answered')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stdout == "answered\n", done.stderr
