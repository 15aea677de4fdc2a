"""The finished tiny run as tests read it, and tables made by hand."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from autolora_meta.config.compare import CompareOptions
from autolora_meta.studies.questions import Primary, questions_of
from autolora_meta.studies.table import StudyTable
from tests.end_to_end import Tiny

ARMS = ("learned", "uniform", "shuffled", "frozen")
METRICS = ("cross_entropy", "accuracy")


def place(tiny: Tiny, arm: str, seed: int) -> Path:
    """Where a run of the tiny run left its ranks and its search."""
    (row,) = (r for r in StudyTable.load(tiny.run).rows if (r["arm"], r["seed"]) == (arm, seed))
    return tiny.run / "runs" / row["id"] / str(seed) / arm


def results(tiny: Tiny) -> dict[tuple[str, int], dict[str, Any]]:
    """What each job of the run left: (arm, seed) -> result.json."""
    return {
        (arm, seed): json.loads((place(tiny, arm, seed) / "result.json").read_text())
        for arm in ARMS
        for seed in (0, 1)
    }


def made(values: Mapping[str, Mapping[str, list[float]]]) -> StudyTable:
    """The table of a run: arm -> metric -> a value for each seed."""
    rows = [
        {"settings": {}, "arm": arm, "seed": seed, "id": f"{arm}{seed}", "status": "finished"}
        | {"metrics": {metric: each[seed] for metric, each in of.items()}, "compared": [*METRICS]}
        | {"parameters": 8, "cost": 1.0, "pattern": arm}
        for arm, of in values.items()
        for seed in range(3)
    ]
    asked = questions_of(CompareOptions(arms=tuple(values)))
    return StudyTable("made", ("arm",), tuple(rows), asked, Primary(arms=("learned", "uniform")))
