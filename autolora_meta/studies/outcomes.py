"""Outcomes: what is kept and told of a job of a study that has ended."""

import traceback
from pathlib import Path
from typing import Any

from autolora_meta.foundation.disk import unwritten
from autolora_meta.foundation.places import replace_text
from autolora_meta.foundation.tracking import Trackers
from autolora_meta.studies import work
from autolora_meta.studies.executor import Ended
from autolora_meta.studies.ledger import Ledger
from autolora_meta.studies.plan import Planned


def keep(ended: Ended, run: Planned | None, ledger: Ledger, trackers: Trackers) -> None:
    """Write down how a job ended, and tell the trackers.

    Args:
        ended: the job.
        run: that it was the last job of; None of a search or a measurement.
        ledger: of the study.
        trackers: of the study.

    Raises:
        Unwritten: the job found no room on a disk, which is no fault of its own: it is not kept as
            one that failed, so that the same command runs it again.
    """
    if ended.failure is not None and (found := unwritten(ended.failure)):
        raise found from ended.failure
    if ended.value is not None:
        ledger.time(_took(ended, run))
    if run is not None:
        ledger.append(_row(ended))
    _keep_trace(ended, ledger.folder)
    if ended.value is not None and ended.job.call is not work.measure_once:
        _tell(trackers, ended, run)


def _row(ended: Ended) -> dict[str, Any]:
    """Return the line of the ledger about a run that has ended."""
    if ended.value is None:
        return {"id": ended.job.key, "status": "failed", "error": ended.error}
    told = {key: value for key, value in ended.value.items() if key not in work.TIMES}
    return {"id": ended.job.key, "status": "finished"} | told


def _took(ended: Ended, run: Planned | None) -> dict[str, Any]:
    """Return the line of the timings about a job that has finished."""
    times = {key: ended.value[key] for key in work.TIMES if key in ended.value}
    searches = {} if run is None else {"searches": sorted(run.searches.values())}
    return {"job": ended.job.key} | times | searches


def _tell(trackers: Trackers, ended: Ended, run: Planned | None) -> None:
    """Tell the trackers of a search, or of the retraining of a run, that has finished."""
    _, seed, name, place, *_ = ended.job.arguments
    left = place / str(seed) / name
    if run is None:
        trackers.search(f"search/{name}/seed-{seed}/{ended.job.key}", left)
    else:
        trackers.retrain(f"retrain/{run.label}", left, ended.value["metrics"])


def _keep_trace(ended: Ended, folder: Path) -> None:
    """Write the traceback of a job that failed; remove that of an earlier attempt."""
    place = folder / "errors" / f"{ended.job.key}.txt"
    if ended.failure is None:
        place.unlink(missing_ok=True)
        return
    place.parent.mkdir(exist_ok=True)
    replace_text(place, "".join(traceback.format_exception(ended.failure)))
