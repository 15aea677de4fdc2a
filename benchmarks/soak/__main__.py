"""Attack runs for an hour and print a page: `make soak` (ARGS="--hours 0.1")."""

import argparse
import importlib
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.soak.line import Line

# Each part is a file beside this one with soak(seconds, seed, folder) -> list[Line]; and its share
# of the time.
PARTS = {"kills": 0.45, "damage": 0.2, "inputs": 0.2, "long": 0.15}


def main() -> int:
    """Run the parts one after another; return 1 if any promise broke."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hours", type=float, default=1.0, help="of all parts together")
    parser.add_argument("--seed", type=int, default=0, help="of what is tried")
    parser.add_argument("--part", action="append", choices=[*PARTS], help="run this part alone")
    given = parser.parse_args()
    parts = {name: PARTS[name] for name in given.part or PARTS}
    lines: list[Line] = []
    for name, share in parts.items():
        seconds = given.hours * 3600 * share / sum(parts.values())
        soak = importlib.import_module(f"benchmarks.soak.{name}").soak
        with tempfile.TemporaryDirectory(prefix="soak-") as folder:
            print(f"{name}: {seconds:.0f} s", file=sys.stderr, flush=True)
            found = soak(seconds, given.seed, Path(folder))
        print("\n".join(_row(line) for line in found), file=sys.stderr, flush=True)
        lines += found
    print(page(lines))
    return int(any(line.faults for line in lines))


def page(lines: list[Line]) -> str:
    """Return the page: a table of promises, then each fault."""
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False
    ).stdout.strip()
    head = f"Soak of {commit or 'an unknown commit'}, {time.strftime('%Y-%m-%d')}"
    rows = [_row(line) for line in lines]
    faults = [f"- {line.what}: {fault}" for line in lines for fault in line.faults]
    return "\n".join(
        [head, "", "| what | tried | held |", "| --- | --- | --- |", *rows, "", *faults]
    ).rstrip()


def _row(line: Line) -> str:
    return f"| {line.what} | {line.tried} | {line.held} |"


if __name__ == "__main__":
    sys.exit(main())
