"""Outcomes: what is kept and told of a job of a study that has ended."""

import traceback
from pathlib import Path
from typing import Any

from autolora_meta.foundation.tracking import Trackers
from autolora_meta.studies import work
from autolora_meta.studies.executor import Ended
from autolora_meta.studies.plan import Planned


def row_of(ended: Ended) -> dict[str, Any]:
    """The line of the ledger about a run that has ended."""
    if ended.value is None:
        return {"id": ended.job.key, "status": "failed", "error": ended.error}
    told = {key: value for key, value in ended.value.items() if key not in work.TIMES}
    return {"id": ended.job.key, "status": "finished"} | told


def took(ended: Ended, run: Planned | None) -> dict[str, Any]:
    """The line of the timings about a job that has finished."""
    times = {key: ended.value[key] for key in work.TIMES if key in ended.value}
    searches = {} if run is None else {"searches": sorted(run.searches.values())}
    return {"job": ended.job.key} | times | searches


def tell(trackers: Trackers, ended: Ended, run: Planned | None) -> None:
    """Tell the trackers of a search, or of the retraining of a run, that has finished."""
    if ended.value is None or ended.job.call is work.measure_once:
        return
    _, seed, name, place, *_ = ended.job.arguments
    left = place / str(seed) / name
    if run is None:
        trackers.search(f"search/{name}/seed-{seed}/{ended.job.key}", left)
    else:
        trackers.retrain(f"retrain/{run.label}", left, ended.value["metrics"])


def keep_trace(ended: Ended, folder: Path) -> None:
    """The traceback of a job that failed; that of an earlier attempt goes."""
    place = folder / "errors" / f"{ended.job.key}.txt"
    if ended.failure is None:
        place.unlink(missing_ok=True)
        return
    place.parent.mkdir(exist_ok=True)
    place.write_text("".join(traceback.format_exception(ended.failure)), encoding="utf-8")
