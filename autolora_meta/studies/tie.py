"""What a worker process runs first (`orphans.Tied`): it ends when its parent does.

A file by itself, which imports nothing of ours: it runs before the paths of the parent are known.
"""

import ctypes
import os
import signal
import sys
import threading
import time

_PR_SET_PDEATHSIG = 1


def tie(parent: int) -> None:
    """Leave Ctrl-C, which a terminal sends to all processes, to the parent, and end with it.

    Args:
        parent: its process id, which it may have no longer.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # the parent may have been told to ignore it
    if sys.platform == "linux":  # the kernel does it, whatever is being imported
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(1)
    else:
        threading.Thread(target=_end_after, args=(parent,), daemon=True).start()


def _end_after(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(0.1)
    os._exit(1)


if "parent" in globals():  # given by `orphans`
    tie(globals()["parent"])
