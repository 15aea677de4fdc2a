"""A process of a pool ends with the one that opened it, whatever it was doing."""

import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

OPENER = """
import time
from concurrent.futures import ProcessPoolExecutor
from autolora_meta.studies.orphans import Tied

if __name__ == "__main__":
    pool = ProcessPoolExecutor(2, Tied())
    running = [pool.submit(time.sleep, 60) for _ in range(2)]
    time.sleep(60)
else:
    import torch
"""


def begun(opener: subprocess.Popen[bytes], count: int) -> list[psutil.Process]:
    """Return the processes below another, once there are so many."""
    for _ in range(1000):
        if len(found := psutil.Process(opener.pid).children(recursive=True)) >= count:
            return found
        time.sleep(0.01)
    raise AssertionError("no process was started")


@pytest.mark.parametrize("moment", [0, 0.03, 0.1, 0.3, 1, 2])
def test_a_kill_leaves_no_worker_even_while_it_imports(moment: float, tmp_path: Path) -> None:
    (tmp_path / "opener.py").write_text(OPENER)
    with (tmp_path / "said").open("wb") as said:
        opener = subprocess.Popen([sys.executable, tmp_path / "opener.py"], stderr=said)
    begun(opener, 3)  # two workers, and what keeps track of their semaphores
    time.sleep(moment)
    left = begun(opener, 3)
    opener.kill()
    opener.wait()
    _, alive = psutil.wait_procs(left, timeout=1)
    assert not [process for process in alive if process.status() != psutil.STATUS_ZOMBIE]
    assert "Traceback" not in (tmp_path / "said").read_text()
