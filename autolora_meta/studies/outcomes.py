"""Outcomes: what is kept and told of a job of a study that has ended."""

import traceback
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from autolora_meta.foundation.disk import unwritten
from autolora_meta.foundation.places import replace_text
from autolora_meta.foundation.tracking import Trackers
from autolora_meta.studies import work
from autolora_meta.studies.chosen import TIMES
from autolora_meta.studies.executor import Ended
from autolora_meta.studies.ledger import Ledger
from autolora_meta.studies.plan import Planned


def keep(
    every: Iterable[Ended], runs: Mapping[str, Planned], ledger: Ledger, trackers: Trackers
) -> None:
    """Write down how each job ended, as it ends, and tell the trackers.

    Runs of one bundle are written together: where dropout masks were drawn for all of them, a part
    that is run again by itself would draw others.

    Args:
        every: the jobs.
        runs: id -> run, of those that the jobs are about; searches and measurements are of none.
        ledger: of the study.
        trackers: of the study.

    Raises:
        Unwritten: a job found no room on a disk, which is no fault of its own: it is not kept as
            one that failed, so that the same command runs it again.
    """
    bundle: list[Ended] = []
    for ended in every:
        bundle.append(ended)
        if not ended.more:
            _keep(bundle, runs, ledger, trackers)
            bundle = []


def _keep(
    bundle: Sequence[Ended], runs: Mapping[str, Planned], ledger: Ledger, trackers: Trackers
) -> None:
    for ended in bundle:
        if ended.failure is not None and (found := unwritten(ended.failure)):
            raise found from ended.failure
    for ended in bundle:
        if ended.value is not None:
            ledger.time(_took(ended, runs.get(ended.job.key)))
    if rows := [_row(ended) for ended in bundle if ended.job.key in runs]:
        ledger.append(*rows)
    for ended in bundle:
        _keep_trace(ended, ledger.folder)
        untold = work.measure_once, work.choose_once
        if ended.value is not None and ended.job.call not in untold:
            _tell(trackers, ended, runs.get(ended.job.key))


def _row(ended: Ended) -> dict[str, Any]:
    """Return the line of the ledger about a run that has ended."""
    if ended.value is None:
        return {"id": ended.job.key, "status": "failed", "error": ended.error}
    told = {key: value for key, value in ended.value.items() if key not in TIMES}
    return {"id": ended.job.key, "status": "finished"} | told


def _took(ended: Ended, run: Planned | None) -> dict[str, Any]:
    """Return the line of the timings about a job that has finished."""
    times = {key: ended.value[key] for key in TIMES if key in ended.value}
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
