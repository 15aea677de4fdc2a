"""Work of a study that takes no time: what would search, measure and retrain."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from autolora_meta.allocators.allocation import Scoring, Spent
from autolora_meta.config.run import RunConfig
from autolora_meta.foundation.cost import Cost
from autolora_meta.studies.study import Study

BASE = {
    "name": "stub",
    "model": {"name": "none"},
    "data": {"source": "none.csv"},
    "ranks": {"importance": "product"},  # which reads one search
}
VARY = {"search.hypergradient": ["darts", {"method": "cg", "iterations": 3}], "lora.k": [2, 4]}
calls: Counter[str] = Counter()


def search(
    configs: Sequence[RunConfig], seed: int, selection: str, place: Path, plain: Path | None = None
) -> dict[str, Any]:
    assert plain is None or plain.is_dir()
    calls[f"search {place.name}"] += 1
    place.mkdir(parents=True)
    return {"seconds": 0.1}


def measure(configs: Sequence[RunConfig], seed: int, arm: str, place: Path) -> dict[str, Any]:
    calls[f"measure {arm}"] += 1
    place.parent.mkdir(exist_ok=True)
    Scoring(torch.zeros(1, 1), Spent(Cost(), 0.0, None)).save(place)
    return {"seconds": 0.1}


def retrain(
    config: RunConfig,
    seed: int,
    arm: str,
    place: Path,
    searches: Any,
    measured: Path | None,
    choice: Path | None = None,
) -> dict[str, Any]:
    assert all(folder.is_dir() for folder in searches)
    assert measured is None or measured.is_file()
    calls[place.name] += 1
    value = config.lora.k + seed + (arm == "learned")
    return {
        "metrics": {"accuracy": value / 10, "cross_entropy": -value},
        "compared": ["accuracy"],
        "parameters": 100,
        "ranks": {"q": 1},
        "cost": 10.0,
        "seconds": 0.1,
    }


def together(several: Sequence[tuple[Any, ...]]) -> list[dict[str, Any]]:
    return [retrain(*arguments) | {"stack": len(several)} for arguments in several]


def search_together(several: Sequence[tuple[Any, ...]]) -> list[dict[str, Any]]:
    calls[f"{len(several)} searches together"] += 1
    return [search(*arguments) for arguments in several]


def no_trial(config: RunConfig, seed: int, most: int) -> tuple[int, str]:
    return 1, "one adapter at a time"


def study(folder: Path, **changes: Any) -> Study:
    given = {"vary": VARY, "arms": ["learned", "uniform"], "seeds": range(2)} | changes
    return Study(BASE, folder=folder, **given)
