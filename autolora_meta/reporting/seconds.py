"""Wall time, which stands in `timings.jsonl` apart from all results."""

from collections import defaultdict
from pathlib import Path
from typing import Any

from autolora_meta.allocators.replicate import allocator
from autolora_meta.config.run import RunConfig
from autolora_meta.foundation.json_files import read_rows


def mean_seconds(config: RunConfig, folder: Path) -> dict[str, float]:
    """Mean seconds of one replicate of each arm that was timed, search and retraining together."""
    spent: dict[tuple[str, str], list[float]] = defaultdict(list)
    for row in _rows(folder):
        spent[row["stage"], row["arm"]].append(row["seconds"])
    mean = {job: sum(seconds) / len(seconds) for job, seconds in spent.items()}
    jobs = {
        arm: [("retrain", arm), *(("search", selection) for selection in allocator(arm).searches)]
        for arm in config.compare.arms
    }
    return {
        arm: sum(mean[job] for job in needed)
        for arm, needed in jobs.items()
        if all(job in mean for job in needed)
    }


def job_seconds(folder: Path) -> list[float]:
    """Seconds of every job of a run or of a study."""
    return [row["seconds"] for row in _rows(folder)]


def _rows(folder: Path) -> list[dict[str, Any]]:
    file = folder / "timings.jsonl"
    return read_rows(file) if file.is_file() else []
