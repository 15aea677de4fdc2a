"""Run: the whole job, from a configuration to a folder with everything in it."""

import logging
from collections.abc import Callable
from concurrent.futures import Executor
from itertools import count
from pathlib import Path

from autolora_meta.config.run import RunConfig
from autolora_meta.foundation.lock import Busy, locked
from autolora_meta.foundation.progress import Progress
from autolora_meta.pipeline.divided import refuse_undivided
from autolora_meta.reporting.keep_adapter import KeepAdapter
from autolora_meta.reporting.report import report
from autolora_meta.studies.ahead import ahead, kept_words
from autolora_meta.studies.folder import refuse_other, taken
from autolora_meta.studies.main_guard import refuse_unguarded
from autolora_meta.studies.study import Study
from autolora_meta.studies.table import StudyTable

_LOG = logging.getLogger(__name__)


def run(
    config: RunConfig,
    folder: str | Path,
    *,
    executor: Executor | None = None,
    overwrite: bool = False,
    retry_failed: bool = False,
    wait: bool = False,
    restart: bool = False,
    progress: Progress | None = None,
    say: Callable[[str], None] = _LOG.info,
) -> StudyTable:
    """Search, allocate, retrain, compare and report: a study of one point.

    A run that was stopped goes on where it was, when it is called with the same arguments. Worker
    processes import the main module again: call this below `if __name__ == "__main__":`.

    >>> table = run(RunConfig.load("quickstart"), "runs/mine", say=print)  # doctest: +SKIP
    >>> table.to_pandas()
    >>> table.sentences()

    Args:
        config: the run.
        folder: where everything goes: the page, summary, table, ranks, figures, adapter, and the
            search and metrics of each replicate. Not there yet, empty, or with this run in it.
        executor: runs the jobs (`Study.run`); None: processes of this machine.
        overwrite: replace the run that `folder` holds.
        retry_failed: run those jobs again that failed before.
        wait: for another process that works on it, instead of refusing.
        restart: begin jobs that were stopped anew, instead of going on from their checkpoints.
        progress: told about every step of every job.
        say: told what is about to happen, and the summary.

    Returns:
        Every value of every arm and seed, and what can be said of them.

    Raises:
        InputError: the folder holds something else, a tracker is not installed, or the
            configuration cannot work on this model and data; nothing has been written then. Or no
            retraining has finished: all have failed.
    """
    refuse_unguarded(executor)
    study = Study.of(config, Path(folder))
    refuse_other(study, overwrite=overwrite)
    return complete(
        study,
        executor=executor,
        overwrite=overwrite,
        retry_failed=retry_failed,
        wait=wait,
        restart=restart,
        progress=progress,
        say=say,
    )


def complete(
    study: Study,
    *,
    executor: Executor | None = None,
    overwrite: bool = False,
    retry_failed: bool = False,
    wait: bool = False,
    restart: bool = False,
    progress: Progress | None = None,
    say: Callable[[str], None] = _LOG.info,
) -> StudyTable:
    """Run what is left of a study, and write its summary, figures and page.

    Takes and raises what `run` does.
    """
    refuse_unguarded(executor)
    refuse_undivided([run.config for run in study.planned], elsewhere=executor is not None)
    say(ahead(study, retry_failed=retry_failed, overwrite=overwrite, restart=restart))
    try:
        table = study.run(
            executor,
            overwrite=overwrite,
            retry_failed=retry_failed,
            wait=wait,
            restart=restart,
            keep=KeepAdapter(study.base) if study.point else None,
            progress=progress,
            say=say,
        )
    except KeyboardInterrupt:
        say(kept_words(study))
        raise
    try:
        with locked(study.folder, "it writes summary and page when it has ended"):
            words = report(study.folder, study.first)
    except Busy as busy:
        say(str(busy))
        return table
    say(f"\n{words}")
    adapter = ", adapter/ (PEFT)" if (study.folder / "adapter").is_dir() else ""
    say(f"Everything is in {study.folder}: report.html, summary.md, table.json, figures/{adapter}")
    return table


def placed(config: RunConfig, folder: Path) -> tuple[RunConfig, Path]:
    """Return the run and the folder that it can begin or go on in.

    It is `folder`, or the first of `folder-2`, `folder-3`, ... that holds no other run; the run is
    named after it.
    """
    for number in count(1):
        place = folder if number == 1 else folder.with_name(f"{folder.name}-{number}")
        named = config if number == 1 else config.model_copy(update={"name": place.name})
        if not taken(place) or Study.of(named, place).goes_on():
            return named, place
    raise AssertionError
