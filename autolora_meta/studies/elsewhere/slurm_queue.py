"""The jobs that Slurm has in its queue: one that has left it without an answer has died.

submitit asks `sacct` for that, at most every ten minutes. Where a cluster keeps no accounts, it
never learns of a death.
"""

import subprocess
import time

_SECONDS = 20.0  # from one question to the next


class SlurmQueue:
    """The jobs of this user in Slurm's queue, asked for now and then."""

    def __init__(self) -> None:
        self._asked = float("-inf")
        self._ids: frozenset[str] | None = frozenset()

    def lacks(self, job: str, since: float) -> bool | None:
        """Return whether a job is known to have left the queue; None: Slurm does not answer.

        Args:
            job: its id, that of an array with its number (`7_0`).
            since: when it was submitted, by `time.monotonic`.
        """
        if time.monotonic() - self._asked > _SECONDS:
            self._asked, self._ids = time.monotonic(), _ids()
        if self._ids is None:
            return None
        return since < self._asked and job not in self._ids


def _ids() -> frozenset[str] | None:
    """Return the ids of this user's jobs; None: Slurm does not answer."""
    command = ["squeue", "--me", "--array", "--noheader", "--format=%i"]
    try:
        said = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return frozenset(said.stdout.split())
