"""How right each hypergradient is: python -m benchmarks.hypergradient_accuracy [--json FILE].

The rows of `autolora-meta verify --model quickstart`: small problems in float64, and the
quickstart's encoder in train mode with dropout, in float32 and under bf16 autocast.
"""

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path

import torch

from autolora_meta.config.run import RunConfig
from autolora_meta.reporting.accuracy import accuracy_table
from autolora_meta.verification.accuracy import verify
from autolora_meta.verification.targets import verdicts


def main() -> None:
    """Measure, print the table and the targets, write the rows."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write a list of rows to FILE")
    parser.add_argument("--small", action="store_true", help="the float64 problems alone")
    given = parser.parse_args()
    config = None if given.small else RunConfig.load("quickstart")
    torch.set_num_threads(config.runtime.threads if config else 1)
    rows = verify(config, say=lambda text: print(f"measuring: {text}", file=sys.stderr))
    print(accuracy_table(rows))
    print("\n".join(["", *verdicts(rows)]))
    if given.json:
        given.json.write_text(json.dumps([asdict(row) for row in rows], indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
