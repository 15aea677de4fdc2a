"""A run of any task that takes a second: its configuration, and what to ask of it."""

from pathlib import Path
from statistics import fmean
from typing import Any

from autolora_meta import RunConfig
from autolora_meta.finetuning.retrain import RetrainResult


def tiny_config(task: str, model: str | Path, targets: list[str], **of_task: Any) -> RunConfig:
    """Two steps of search and thirty of retraining; `of_task` are options of the task."""
    return RunConfig.load(
        {
            "name": "tiny",
            "model": {"name": str(model)},
            "data": {},
            "task": {"type": task, "max_length": 32, **of_task},
            "lora": {"k": 2, "targets": targets},
            "search": {"outer_steps": 2, "warmup_steps": 1, "batch_size": 4, "outer_batch_size": 4},
            "ranks": {"budget": "uniform:1"},
            "retrain": {"steps": 30, "batch_size": 4, "learning_rate": 0.03},
            "runtime": {"device": "cpu"},
        }
    )


def falls(result: RetrainResult) -> bool:
    """Whether the last steps have a lower loss than the first."""
    losses = [row["loss"] for row in result.log]
    return fmean(losses[-8:]) < fmean(losses[:8])
