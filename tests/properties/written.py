"""Each file that a run writes and reads again: what stands in it, made by hand, and its reader."""

import json
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path

import torch
from safetensors.torch import save_file

from autolora_meta.allocators.allocation import Scoring, Spent
from autolora_meta.config.run import RunConfig
from autolora_meta.exporting.stored import read_adapter
from autolora_meta.finetuning.start import Start
from autolora_meta.foundation import manifest
from autolora_meta.foundation.cost import Cost
from autolora_meta.foundation.environment import record, recorded
from autolora_meta.pipeline.result import SearchResult
from autolora_meta.ranks.components import Components
from autolora_meta.ranks.pattern import RankPattern
from autolora_meta.reporting.sections_use import rows
from autolora_meta.studies.ledger import Ledger
from autolora_meta.studies.options import read_study
from autolora_meta.studies.plan import plan
from autolora_meta.studies.table import StudyTable
from tests.reporting.pages import study_options, study_table

BASE = {"name": "mine", "model": {"name": "./model"}, "data": {"source": "./rows.csv"}}


def _search(folder: Path) -> object:
    """Read a search, and what people ask of it."""
    found = SearchResult.load(folder)
    return found.ranks, found.reached, found.blind, found.stability, found.start


def _table(folder: Path) -> object:
    found = StudyTable.load(folder)
    return found.to_pandas(), found.sentences()


def _ledger(folder: Path) -> object:
    ledger = Ledger(folder)
    return ledger.rows(), ledger.took(), ledger.seconds(), ledger.looks()


READERS: dict[str, Callable[[Path], object]] = {
    "ranks.json": lambda folder: RankPattern.load(folder / "ranks.json"),
    "scores.json": lambda folder: Scoring.load(folder / "scores.json"),
    "table.json": _table,
    "results.jsonl": _ledger,
    "timings.jsonl": _ledger,
    "looks.json": _ledger,
    "inputs.json": lambda folder: Ledger(folder).refuse_changed({"a": "b"}, None),
    "environment.json": recorded,
    "rows.json": rows,
    "config.yaml": lambda folder: RunConfig.of_folder(folder).to_yaml(),
    "study.yaml": lambda folder: [run.id for run in plan(read_study(folder / "study.yaml"))],
    "metrics.jsonl": _search,
    "alphas.safetensors": _search,
    "search/search.json": _search,
    "search/importance.safetensors": _search,
    "search/start.safetensors": _search,
    manifest.FILE: _search,
    "adapter_config.json": read_adapter,
    "adapter_model.safetensors": read_adapter,
}


@cache
def contents() -> dict[str, bytes]:
    """Return path below the folder -> bytes, of every file of `READERS`."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        _write(folder)
        return {name: (folder / name).read_bytes() for name in READERS}


def _write(folder: Path) -> None:
    _searched().save(folder)
    record(folder)
    study_table(2).save(folder / "table.json")
    (folder / "study.yaml").write_text(study_options().to_yaml(), encoding="utf-8")
    (folder / "config.yaml").write_text(RunConfig.load(BASE).to_yaml(), encoding="utf-8")
    spent = Spent(Cost(1, 2), 0.5, None)
    Scoring(torch.tensor([[0.1, 2e-7]], dtype=torch.float64), spent).save(folder / "scores.json")
    ended = {
        **{"id": "a", "status": "finished", "metrics": {"accuracy": 0.5}, "ranks": {"q": 1}},
        **{"compared": ["accuracy"], "parameters": 8, "cost": 3.5, "blind": False},
    }
    failed = {"id": "b", "status": "failed", "error": "no"}
    timed = {"job": "a", "seconds": 1.0, "allocation_seconds": 0.5, "peak_memory": 3}
    classes = {"train": {"cat": 3, "dog": 4}, "test": {"cat": 1, "dog": 1}}
    for name, lines in {
        "results.jsonl": [ended, failed],
        "timings.jsonl": [timed, timed | {"job": "b", "searches": ["a"]}],
        "looks.json": [[{"seeds": [0, 1], "primary": "learned"}]],
        "inputs.json": [{"a": "b"}],
        "rows.json": [{"seed": 0, "said": ["120 rows"], "classes": classes}],
        "adapter_config.json": [
            {"peft_type": "LORA", "r": 2, "lora_alpha": 4, "target_modules": ["q"]}
        ],
    }.items():
        (folder / name).write_text("".join(json.dumps(line) + "\n" for line in lines))
    factors = {"base_model.model.q.lora_A.weight": torch.ones(2, 4)}
    factors |= {"base_model.model.q.lora_B.weight": torch.ones(3, 2)}
    save_file(factors, folder / "adapter_model.safetensors", {"format": "pt"})


def _searched() -> SearchResult:
    """Return a search of two layers with three components, as one might end."""
    torch.manual_seed(0)
    names, gates = ("layer.q", "layer.v"), torch.rand(2, 3)
    factors = [(torch.rand(3, 8), torch.rand(8, 3)) for _ in names]
    figures = {"inner_loss": 1.0, "outer_loss": 0.9, "direct_norm": 0.1, "implicit_norm": 0.0}
    return SearchResult(
        components=Components.from_factors(
            names, (16, 16), 2.0, gates, factors, None, torch.rand(2, 3)
        ),
        trajectory=torch.rand(3, 2, 3),
        ranks_trajectory=torch.tensor([[2, 2]] * 3),
        rows=[{"step": n, "outer_step": n, **figures} for n in (1, 2)],
        cost=Cost(3, 3),
        blind_loss=1.1,
        start=Start.of(names, gates, factors, {"head": torch.rand(2)}, scale=2.0, seed=0),
    )
