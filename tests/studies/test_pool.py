"""The pool of this machine: what it leaves in temporary folders, and what it needs."""

import errno
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import pytest

from autolora_meta.config.run import RunConfig
from autolora_meta.errors import InputError
from autolora_meta.foundation.progress import Silent
from autolora_meta.studies.pool import local_pool

OPENER = """
if __name__ == "__main__":  # and not in the process that it starts
    import sys, time
    from autolora_meta.config.run import RunConfig
    from autolora_meta.foundation.progress import Silent
    from autolora_meta.studies.pool import local_pool

    config = RunConfig.load("quickstart", "runtime.device=cpu", "runtime.workers=1")
    with local_pool(config, Silent()):
        print("open", flush=True)
        time.sleep(float(sys.argv[1]))
"""


@pytest.mark.slow
def test_what_a_killed_run_left_in_the_temporary_folder_goes_with_the_next_start(
    tmp_path: Path,
) -> None:
    (tmp_path / "opener.py").write_text(OPENER)
    temporary = Path(mkdtemp())  # of a short name, as that of a system is

    def opened(seconds: int) -> subprocess.Popen[bytes]:
        opener = [sys.executable, str(tmp_path / "opener.py"), str(seconds)]
        process = subprocess.Popen(
            opener, env=os.environ | {"TMPDIR": str(temporary)}, stdout=subprocess.PIPE
        )
        assert process.stdout is not None and process.stdout.readline() == b"open\n"
        return process

    def left() -> list[str]:
        names = (path.name for path in temporary.iterdir())
        return [name for name in names if not name.startswith("torch")]  # its caches

    killed = opened(60)
    killed.kill()
    killed.communicate()
    assert left()
    time.sleep(0.2)  # its manager ends, too
    ended = opened(0)
    ended.communicate()
    assert ended.returncode == 0 and not left()
    shutil.rmtree(temporary)


def test_no_place_for_semaphores_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("autolora_meta.studies.pool.ProcessPoolExecutor", full)
    config = RunConfig.load("quickstart", "runtime.device=cpu")
    with (
        pytest.raises(InputError, match=r"No space left on device\): make room in /dev/shm"),
        local_pool(config, Silent()),
    ):
        pass
