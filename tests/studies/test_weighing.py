"""Weights of rows from the command line: learned, retrained by, compared, and kept."""

import json
from pathlib import Path
from typing import Any

import pytest

from autolora_meta.finetuning.data.wrong_labels import wrong_rows
from autolora_meta.pipeline.row_weights import LearnedWeights
from tests.end_to_end import command
from tests.tiny import tiny_bert, tiny_csv


def config(place: Path) -> dict[str, Any]:
    return {
        "name": "weighed",
        "model": {"name": str(tiny_bert(place / "model", dropout=0.0))},
        "data": {
            "source": str(tiny_csv(place / "rows.csv", 150)),
            "train_rows": 40,
            "validation_rows": 40,
            "flip_labels": 0.4,
        },
        "lora": {"k": 2, "targets": ["query", "value"]},
        "search": {
            "problem": "reweighting",
            "hypergradient": {"method": "darts", "weight": 1},
            "batch_size": 10,
            "outer_batch_size": 40,
            "warmup_steps": 1,
            "outer_steps": 4,
            "inner": {"learning_rate": 5e-3, "weight_decay": 2.0},
            "outer": {"name": "scaled_sgd", "learning_rate": 0.5},
        },
        "ranks": {"budget": "uniform:1"},
        "retrain": {"steps": 4, "learning_rate": 1e-2, "batch_size": 8},
        "compare": {"replicates": 1},
        "runtime": {"device": "cpu"},
    }


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("weighing")
    written = place / "weighed.yaml"
    written.write_text(json.dumps(config(place)), encoding="utf-8")
    return written


def test_every_arm_is_measured_and_the_same_command_reads_what_is_there(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    said = command("weigh", file)
    assert said.status == 0, said.err
    folder = tmp_path / "runs" / "weighed"
    record = json.loads((folder / "replicates" / "0.json").read_text())
    arms = {"weighted", "uniform", "clean", "early", "smoothed", "eva", "scored", "shuffled"}
    assert set(record["metrics"]) == arms
    # Ranks of the weights by hand: the chance that a wrong row weighs less than a right one.
    learned, wrong = LearnedWeights.load(folder / "weights" / "0.json"), wrong_rows(40, 0.4, 0)
    low, high = (learned.weights[[i for i in range(40) if (i in wrong) == x]] for x in (1, 0))
    auc = sum((high > w).sum() + 0.5 * (high == w).sum() for w in low) / (len(low) * len(high))
    assert record["auc"] == pytest.approx(float(auc))
    assert (folder / "adapter" / "adapter_model.safetensors").is_file()
    assert "no claim: weighted minus uniform" in said.out  # of one replicate none may be made
    assert "| shuffled" in said.out and "tells all" in said.out
    kept = {path: path.stat().st_mtime_ns for path in folder.rglob("*.json")}
    again = command("weigh", file)
    assert again.status == 0 and again.out.splitlines()[-20:] == said.out.splitlines()[-20:]
    assert kept == {path: path.stat().st_mtime_ns for path in folder.rglob("*.json")}


@pytest.mark.parametrize(
    ("verb", "change", "message"),
    [
        ("weigh", "search.hypergradient=first_order", "it would learn nothing; take darts"),
        ("weigh", "search.problem=autolora", "learns ranks, and weights of rows are wanted here"),
        ("weigh", "ranks={rule: gap}", "at uniform ranks of one budget"),
        ("weigh", "data.validation_rows=20", "batch of 40 rows cannot be drawn from 20"),
        ("search", "seed=0", "learns weights of rows, and ranks are wanted here"),
        ("run", "seed=0", "learns weights of rows, and ranks are wanted here"),
    ],
)
def test_what_cannot_work_is_refused_in_one_sentence(
    verb: str, change: str, message: str, file: Path, tmp_path: Path, monkeypatch: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    said = command(verb, file, change)
    assert said.status == 2 and message in said.err and "Traceback" not in said.err
    assert not list(tmp_path.rglob("*.json"))
