"""Processes that do not outlive the one that started them; light, for it is imported everywhere."""

import os
import threading
from multiprocessing import parent_process

_watched = False


def end_with_parent() -> None:
    """End this process when its parent is killed: else it goes on beside the one that resumes."""
    global _watched
    parent = parent_process()
    if parent is not None and not _watched:
        _watched = True
        threading.Thread(target=lambda: (parent.join(), os._exit(1)), daemon=True).start()
