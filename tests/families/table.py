"""docs/limits.md, from running every family: `python -m tests.families.table`."""

import json
import os
import re
import sys
import tempfile
import warnings
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

# Read by the libraries when they are imported.
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

from transformers.utils import logging

from tests.families import KINDS
from tests.families.family import Family
from tests.families.way import TASKS, Arrival, arrival

LIMITS = Path(__file__).parents[2] / "docs" / "limits.md"
HEAD = """# Limits: which families of models work

`make limits` writes this file: it takes a tiny model of each family from a configuration through
search, retraining and saving, and loads the adapter with stock transformers and stock PEFT onto a
fresh base. A family works where the ranks of the saved file are those that were asked for, no layer
of rank 0 has tensors, and logits and metrics after loading equal those before, to 1e-5. As a test
it is `make families`; `make test` takes one of each kind. Weights are random: how well a family
learns is not measured here.

Versions: transformers {transformers}, PEFT {peft}, torch {torch}. `layers` is how many the two
blocks of the tiny model give to `lora.targets: all-linear`, or to the settings that are named.
"""
COLUMNS = "| family | task | settings | layers | works, or why not | left out |"


@dataclass(frozen=True)
class Row:
    """One family in the file."""

    task: str
    settings: str
    layers: int
    verdict: str


def row(name: str, family: Family, arrived: Arrival) -> str:
    """A line of the table."""
    settings = settings_of(family)
    verdict = f"refused: {_short(arrived.refused)}" if arrived.refused else "works"
    left_out = "; ".join(said.removeprefix("no adapter on ") for said in arrived.left_out)
    cells = (name, TASKS[family.task], settings, str(arrived.layers), verdict, left_out)
    return f"| {' | '.join(cell.replace('|', '/') for cell in cells)} |"


def _short(message: str) -> str:
    """A message without the folder of the test and the advice behind the reason."""
    return re.sub(r" of model.name '[^']*'", "", message).split("; allowed")[0]


def rows() -> dict[str, Row]:
    """Every line of the file, by family."""
    found: dict[str, Row] = {}
    for line in LIMITS.read_text(encoding="utf-8").splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if line.startswith("| ") and cells[3].isdigit():
            found[cells[0]] = Row(cells[1], cells[2], int(cells[3]), cells[4])
    return found


def settings_of(family: Family) -> str:
    """What the column of settings says of a family."""
    return "; ".join(f"`lora.{key}: {json.dumps(value)}`" for key, value in family.lora.items())


def write() -> None:
    """Run every family and write the file."""
    versions = {name: version(name).partition("+")[0] for name in ("transformers", "peft", "torch")}
    lines = [HEAD.format(**versions)]
    for kind, families in KINDS.items():
        lines += [f"## {kind}\n", COLUMNS, "| --- " * 6 + "|"]
        for name, family in families.items():
            with tempfile.TemporaryDirectory(prefix="family-") as place:
                lines.append(row(name, family, arrival(family, Path(place))))
            print(lines[-1], file=sys.stderr, flush=True)
        lines.append("")
    LIMITS.write_text("\n".join(lines), encoding="utf-8")


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    logging.set_verbosity_error()
    write()
