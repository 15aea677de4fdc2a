"""What a run was given to learn from: what was said while rows were read, and its classes."""

import json
from pathlib import Path

from autolora_meta.foundation.json_files import read_json
from autolora_meta.pipeline.check import Plan
from autolora_meta.reporting.document import Section, Table

FILE = "rows.json"
_OPEN = 20  # classes in a table that need not be opened


def record(folder: Path, plan: Plan) -> None:
    """Write `rows.json` into `folder`."""
    content = {"said": plan.said, "classes": plan.classes}
    text = json.dumps(content, indent=2, ensure_ascii=False) + "\n"
    (folder / FILE).write_text(text, encoding="utf-8")


def section(folder: Path, seed: int) -> list[Section]:
    """The rows on the page of a run; empty where they were not recorded.

    Args:
        folder: of the run.
        seed: of the replicate that the rows were cut for.
    """
    file = folder / FILE
    if not file.is_file():
        return []
    found = read_json(file)
    tables = []
    if classes := found["classes"]:
        splits = next(iter(classes.values()))
        cells = [[name, *of.values()] for name, of in classes.items()]
        tables = [
            Table("How often each class, or tag, stands in each split", ["class", *splits], cells)
        ]
    opened = len(classes) <= _OPEN
    return [
        Section(
            f"The rows, seed {seed}",
            points=found["said"],
            tables=tables if opened else [],
            folded=[] if opened else tables,
        )
    ]
