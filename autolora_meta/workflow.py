"""Run: the whole job, from a configuration to a folder with everything in it."""

import json
import logging
from collections.abc import Callable
from pathlib import Path

from autolora_meta.config.run import RunConfig
from autolora_meta.foundation.environment import record
from autolora_meta.foundation.progress import Progress
from autolora_meta.foundation.tracking import Trackers
from autolora_meta.pipeline.check import check
from autolora_meta.reporting import rows
from autolora_meta.reporting.folder import made, vacant
from autolora_meta.reporting.page import page
from autolora_meta.reporting.report import KeepAdapter, conclude, plan_words
from autolora_meta.reporting.summary import primary_ahead
from autolora_meta.studies.compare import Comparison, compare
from autolora_meta.studies.jobs import Outcome
from autolora_meta.studies.main_guard import refuse_unguarded

_LOG = logging.getLogger(__name__)


def run(
    config: RunConfig,
    folder: str | Path,
    *,
    overwrite: bool = False,
    progress: Progress | None = None,
    say: Callable[[str], None] = _LOG.info,
) -> Comparison:
    """Search, allocate, retrain, compare and report.

    Worker processes import the main module again: call this below `if __name__ == "__main__":`.

    >>> comparison = run(RunConfig.load("quickstart"), "runs/mine", say=print)  # doctest: +SKIP
    >>> comparison.sentences()

    Args:
        config: the run.
        folder: where everything goes: the page, summary, ranks, comparison, figures, adapter, and
            the search and metrics of each replicate. Not there yet, or empty.
        overwrite: `folder` may hold a run, which is replaced.
        progress: told about every step of every job.
        say: told what is about to happen, and the summary.

    Returns:
        The arms over the replicates, and what can be said of them.

    Raises:
        InputError: the folder is taken, a tracker is not installed, or the configuration cannot
            work on this model and data; nothing has been written then.
    """
    refuse_unguarded()
    place = vacant(Path(folder), overwrite=overwrite)
    trackers = Trackers(config.runtime.report_to, config.name, place / "trackers")
    plan = check(config, tested=True)
    say("\n".join([plan_words(config, plan), *primary_ahead(config.compare)]))
    made(place, config)
    record(place)
    rows.record(place, plan)
    with (place / "timings.jsonl").open("w", encoding="utf-8", buffering=1) as timings:

        def observe(outcome: Outcome) -> None:
            stage, seed, arm = outcome.job
            row = {"stage": stage, "seed": seed, "arm": arm, "seconds": round(outcome.seconds, 2)}
            print(json.dumps(row | dict(outcome.measured)), file=timings)
            job, left = f"{stage}/{arm}/seed-{seed}", place / "replicates" / str(seed) / arm
            if stage == "search":
                trackers.search(job, left)
            else:
                trackers.retrain(job, left, outcome.content["metrics"])

        comparison = compare(
            config,
            folder=place / "replicates",
            progress=progress,
            observe=observe,
            keep=KeepAdapter(config, place / "adapter"),
        )
    say(f"\n{conclude(config, comparison, place)}")
    written = page(place)
    say(f"Everything is in {place}: {written.name}, summary.md, figures/, adapter/ (PEFT)")
    return comparison
