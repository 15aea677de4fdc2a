"""--dry-run: what a run would take, measured, with nothing written."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from autolora_meta.cli.main import app
from autolora_meta.config.run import RunConfig
from autolora_meta.pipeline import dry_run
from tests.tiny import tiny_bert, tiny_csv


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("dry")
    settings = {
        "name": "tiny",
        "model": {"name": str(tiny_bert(place / "model"))},
        "data": {"source": str(tiny_csv(place / "rows.csv")), "train_rows": 32},
        "lora": {"k": 3, "targets": ["query", "value"]},
        "search": {"outer_steps": 30, "warmup_steps": 9, "batch_size": 8, "outer_batch_size": 8},
        "ranks": {"budget": "uniform:2"},
        "retrain": {"steps": 17, "batch_size": 8},
        "compare": {"arms": ["learned", "uniform"], "replicates": 2},
        "runtime": {"device": "cpu"},
    }
    (place / "mine.yaml").write_text(RunConfig.load(settings).to_yaml())
    return place / "mine.yaml"


def told(*arguments: str | Path) -> str:
    done = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert done.exit_code == 0, done.output
    return done.output


def cells(output: str) -> dict[str, list[str]]:
    rows = [line.split("|")[1:-1] for line in output.splitlines() if line.startswith("| ")][1:]
    return {name.strip(): [cell.strip() for cell in row] for name, *row in rows}


def test_a_run_is_measured_and_nothing_is_written(config: Path, tmp_path: Path) -> None:
    output = told("run", config, "--runs", tmp_path / "runs", "--dry-run")
    rows = cells(output)
    # A classifier of 3 classes of width 16; 2 layers x 2 targets of 16 + 16 numbers a rank.
    head, rank = 3 * 16 + 3, 4 * 32
    assert [row[0] for row in rows.values()] == [
        f"{head + 3 * rank:,}",
        f"{head + 3 * rank + 4:,}",  # and a gate a layer
        f"{head + 2 * rank:,}",
    ]
    assert [row[1] for row in rows.values()] == [f"{9 + 39}", "30", "17"]  # plain search beside
    assert all(float(row[2]) > 0 and row[4].endswith("GiB") for row in rows.values())
    assert "8 jobs" in output and "it fits: cpu has room for" in output
    assert not (tmp_path / "runs").exists()


def test_a_search_that_does_not_fit_says_what_to_lower(
    config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dry_run, "room", lambda device: 1 << 20)
    output = told("search", config, "--runs", tmp_path / "runs", "--dry-run")
    assert list(cells(output)) == ["search, inner step", "search, outer step"]
    assert "it does not fit: cpu has room for 0.00 GiB; lower search.batch_size (now 8)" in output
    assert "search.gradient_checkpointing=true, or a larger search.accumulate (now 1)" in output
    assert not (tmp_path / "runs").exists()


def test_a_problem_that_learns_no_ranks_is_refused(config: Path) -> None:
    change = "search.problem=reweighting"
    done = CliRunner().invoke(app, ["run", str(config), change, "--dry-run"])
    assert done.exit_code == 2 and "learns weights of rows" in " ".join(done.output.split())
