"""Trackers: what they are told, and that none of them can stop a run."""

import json
import logging
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from autolora_meta.config.run import RunConfig
from autolora_meta.errors import InputError
from autolora_meta.foundation import tracking
from autolora_meta.foundation.tracking import Trackers
from autolora_meta.studies import work
from autolora_meta.studies.study import Study
from tests.end_to_end import Tiny, command

Told = dict[str, list[tuple[int, dict[str, float]]]]


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> Told:
    """In place of wandb: run -> (step, figures), with `None` at the end of what has finished."""
    found: Told = {}

    class Fake:
        def __init__(self, project: str, name: str) -> None:
            self.name = f"{project}:{name}"

        def start(self) -> None:
            found[self.name] = []

        def log(self, values: dict[str, float], step: int) -> None:
            found[self.name].append((step, values))

        def finish(self) -> None:
            found[self.name].append((-1, {}))

    monkeypatch.setitem(tracking.START, "wandb", lambda project, name, _: Fake(project, name))
    monkeypatch.setattr(tracking, "find_spec", lambda name: name if name == "wandb" else None)
    return found


def _write(file: Path, rows: list[dict[str, Any]]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def test_each_job_is_a_run_with_its_figures_in_order(told: Told, tmp_path: Path) -> None:
    rows = [
        {"step": 3, "inner_loss": 1.5, "outer_loss": None, "stopped": "exact", "good": True},
        {"step": 4, "inner_loss": float("nan"), "outer_loss": 1},
    ]
    _write(tmp_path / "metrics.jsonl", rows)
    _write(tmp_path / "retrain.jsonl", [{"stage": "retrain", "step": s, "loss": s} for s in (1, 2)])
    trackers = Trackers(["wandb"], "mine", tmp_path)
    trackers.search("search", tmp_path)
    trackers.retrain("retrain", tmp_path, {"accuracy": 0.5})
    assert told == {
        "mine:search": [
            (3, {"search/inner_loss": 1.5}),
            (4, {"search/outer_loss": 1}),
            (-1, {}),
        ],
        "mine:retrain": [
            (1, {"retrain/loss": 1}),
            (2, {"retrain/loss": 2}),
            (2, {"test/accuracy": 0.5}),
            (-1, {}),
        ],
    }


def test_searches_that_are_pooled_are_told_one_by_one(told: Told, tmp_path: Path) -> None:
    for place in (".", "search/0", "search/1"):
        _write(tmp_path / place / "metrics.jsonl", [{"step": 1, "inner_loss": len(place)}])
    Trackers(["wandb"], "mine", tmp_path).search("search", tmp_path)
    assert list(told) == ["mine:search/0", "mine:search/1"]


def test_a_study_tells_of_its_searches_and_retrainings(
    told: Told, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def search(configs: Any, seed: int, selection: str, place: Path) -> dict[str, Any]:
        _write(place / str(seed) / selection / "metrics.jsonl", [{"step": 1, "inner_loss": 2.0}])
        return {"seconds": 0.1}

    def retrain(config: Any, seed: int, arm: str, place: Path, *rest: Any) -> dict[str, Any]:
        if arm == "learned":  # the other leaves none, which stops nothing
            _write(place / str(seed) / arm / "retrain.jsonl", [{"step": 5, "loss": 1.0}])
        found = {"metrics": {"accuracy": 0.5}, "compared": ["accuracy"], "ranks": {}}
        return found | {"parameters": 1, "cost": 1.0, "seconds": 0.1}

    monkeypatch.setattr(work, "search_once", search)
    monkeypatch.setattr(work, "retrain_once", retrain)
    base = {"name": "b", "model": {"name": "m"}, "data": {"source": "d.csv"}}
    layers = [base, {"runtime": {"report_to": ["wandb"]}, "ranks": {"importance": "product"}}]
    study = Study(layers, arms=["learned", "uniform"], seeds=1, name="mine", folder=tmp_path / "s")
    with ThreadPoolExecutor(1) as one:
        assert len(study.run(one).finished) == 2
    assert sorted(told) == [
        "mine:retrain/learned, seed 0",
        "mine:retrain/uniform, seed 0",
        f"mine:search/learned/seed-0/{study.planned[0].searches['learned']}",
    ]
    curve = told["mine:retrain/learned, seed 0"]
    assert curve[:2] == [(5, {"retrain/loss": 1.0}), (5, {"test/accuracy": 0.5})]
    assert told["mine:retrain/uniform, seed 0"][0] == (0, {"test/accuracy": 0.5})


def test_a_tracker_that_fails_is_dropped_and_said_so(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, told: Told
) -> None:
    def refuse() -> None:
        raise ConnectionError("no network")

    broken = SimpleNamespace(start=refuse)
    monkeypatch.setitem(tracking.START, "mlflow", lambda *_: broken)
    monkeypatch.setattr(tracking, "find_spec", lambda name: name)
    trackers = Trackers(["mlflow", "wandb"], "mine", "nowhere")
    with caplog.at_level(logging.WARNING, "autolora_meta.foundation.tracking"):
        for name in ("one", "two"):
            trackers.tell(name, [{"step": 1, "loss": 1.0}])
    assert [r.getMessage() for r in caplog.records] == [
        "mlflow failed and is told no more; the figures are in metrics.jsonl and retrain.jsonl: "
        "ConnectionError: no network"
    ]
    assert list(told) == ["mine:one", "mine:two"]


def test_an_unknown_or_missing_tracker_is_refused_before_anything_runs(
    told: Told, tmp_path: Path, tiny: Tiny
) -> None:
    for given, message in (
        ("[wandbb]", "unknown tracker 'wandbb' (did you mean 'wandb'?)"),
        ("[wandb, wandb]", "names one twice"),
    ):
        with pytest.raises(InputError) as error:
            RunConfig.load("quickstart", f"runtime.report_to={given}")
        assert message in str(error.value)
    said = command("run", tiny.config, "runtime.report_to=[trackio]", "--runs", tmp_path / "runs")
    assert said.status == 2
    assert 'pip install "autolora-meta[trackio]"' in said.err
    assert not (tmp_path / "runs").exists()


def test_a_search_on_the_command_line_reports(told: Told, tiny: Tiny, tmp_path: Path) -> None:
    said = command(
        *("search", tiny.config, "runtime.report_to=[wandb]", "search.outer_steps=2"),
        *("--runs", tmp_path),
    )
    assert said.status == 0, said.err
    rows = told["tiny:search"]
    assert [step for step, _ in rows] == [3, 4, -1]
    assert {"search/inner_loss", "search/outer_loss", "search/ranks_moved"} <= rows[0][1].keys()


def test_tensorboard_reads_what_it_was_told(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of TensorBoard's own imports
        from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

        trackers = Trackers(["tensorboard"], "mine", tmp_path)
        trackers.tell("retrain/seed-0", [{"step": s, "loss": 1.0 / s} for s in (1, 2)])
        events = EventAccumulator(str(tmp_path / "tensorboard" / "retrain" / "seed-0"))
        events.Reload()
    assert [(e.step, e.value) for e in events.Scalars("loss")] == [(1, 1.0), (2, 0.5)]
