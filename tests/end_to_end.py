"""The command line on a tiny model: a configuration, and how to call it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from typer.testing import CliRunner

from autolora_meta.cli.main import app
from tests.tiny import tiny_bert, tiny_csv


@dataclass(frozen=True)
class Said:
    """What a command printed, and its exit status."""

    status: int
    out: str
    err: str


def command(*arguments: object) -> Said:
    """`autolora-meta ARGUMENTS`, in this process; errors that it does not explain come through."""
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return Said(result.exit_code, result.stdout, result.stderr)


@dataclass(frozen=True)
class Tiny:
    """A tiny model, its rows, a configuration for both, and the folder of its finished run."""

    model: Path
    rows: Path
    config: Path
    run: Path


def tiny_setting(place: Path) -> Tiny:
    """Model, rows and configuration below `place`; nothing has run yet."""
    tiny = Tiny(
        tiny_bert(place / "model"),
        tiny_csv(place / "rows.csv", 150),
        place / "tiny.yaml",
        place / "runs" / "tiny",
    )
    settings: dict[str, Any] = {
        "name": "tiny",
        "model": {"name": str(tiny.model)},
        "data": {"source": str(tiny.rows), "train_rows": 32, "validation_rows": 32},
        "lora": {"k": 3, "targets": ["query", "value"]},
        "search": {"outer_steps": 3, "warmup_steps": 2, "batch_size": 8, "outer_batch_size": 8},
        "ranks": {"budget": "uniform:1", "importance": "product"},
        "retrain": {"steps": 4, "batch_size": 8, "learning_rate": 0.01},
        "compare": {"replicates": 2},
        "runtime": {"device": "cpu", "workers": 1},
    }
    tiny.config.write_text(yaml.safe_dump(settings), encoding="utf-8")
    return tiny


def contents(folder: Path) -> dict[str, bytes]:
    """Path below `folder` -> bytes, of every file."""
    paths = [path for path in folder.rglob("*") if path.is_file()]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}
