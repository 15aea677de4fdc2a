"""All that waits for a GPU, one after the other, in under four minutes: python -m benchmarks.gpu.

Each command says what it is for; its figures belong into docs/performance.md, with the name of the
GPU and the date. A command that takes longer than its share is ended, and the next one begins. The
tests marked `gpu` come last. Needs the repository, not the package alone.
"""

import argparse
import subprocess
import sys
import time
from typing import NamedTuple


class Part(NamedTuple):
    """A command: what for, its arguments after `python -m`, and its seconds at most."""

    what: str
    arguments: str
    seconds: int


SMALL, BASE = "--model 6x384 --length 32", "--model 12x768 --length 64"
PARTS = (
    Part(
        "stacks, small: 50 times at 64 adapters",
        f"benchmarks.stacked {SMALL} --stack 1,64 --precision bf16 --workers 0",
        30,
    ),
    Part(
        "stacks, base size: 15 times at 16 adapters",
        f"benchmarks.stacked {BASE} --stack 1,16,32 --precision bf16 --workers 0",
        40,
    ),
    Part(
        "searches in one pass, small: 20 times at 32",
        f"benchmarks.stacked_search {SMALL} --searches 8,32 --precision float32,bf16 --steps 8",
        50,
    ),
    Part(
        "the step: 2.3, 3.5 and 5.6 plain steps at the quickstart's size",
        "benchmarks.step_cost --rounds 8",
        50,
    ),
    Part("tests", "pytest -q -m gpu tests", 60),
)


def main() -> int:
    """Run every part and say how each ended; return 1 if one failed."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--dry-run", action="store_true", help="print the commands alone")
    given = parser.parse_args()
    failed = 0
    for part in PARTS:
        command = [sys.executable, "-m", *part.arguments.split()]
        print(f"\n## {part.what}\n\npython -m {part.arguments}\n", flush=True)
        if given.dry_run:
            continue
        started = time.monotonic()
        try:
            status = subprocess.run(command, timeout=part.seconds, check=False).returncode
            ended = f"status {status}"
        except subprocess.TimeoutExpired:
            status, ended = 1, "ended: out of time"
        failed |= status != 0
        print(f"\n{ended}, {time.monotonic() - started:.0f} s", flush=True)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
