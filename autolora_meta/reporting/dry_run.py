"""What a dry run measured, as a short table."""

from collections.abc import Sequence
from datetime import timedelta

from autolora_meta.config.run import RunConfig
from autolora_meta.pipeline.dry_run import DryRun
from autolora_meta.pipeline.memory import what_to_lower
from autolora_meta.reporting.markdown import table
from autolora_meta.studies.executor import Job


def dry_run_words(config: RunConfig, found: DryRun, jobs: Sequence[Job] | None = None) -> str:
    """Return what the work would take: a row for each phase, then the whole, and whether it fits.

    Args:
        config: of the run.
        found: the measurement.
        jobs: of a run or a study; None: of a search alone.
    """
    header = ["phase", "trained parameters", "steps", "seconds a step", "time", "peak memory"]
    rows = [
        [
            phase.name,
            f"{phase.trained:,}",
            f"{phase.steps:,}",
            f"{phase.seconds:.3g}",
            _time(phase.steps * phase.seconds),
            _bytes(phase.peak),
        ]
        for phase in found.phases
    ]
    parts = [*found.said, "", table(header, rows), ""]
    if jobs is not None:
        work, plain = sum(job.work for job in jobs), found.phases[-1].seconds
        parts.append(
            f"{len(jobs)} jobs, {work:,.0f} plain steps: about {_time(work * plain)} one at a "
            "time, evaluations apart"
        )
    sections = ("search",) if jobs is None else ("search", "retrain")
    if found.room is None:
        parts.append(f"memory of {found.device} is not known")
    elif found.fits:
        parts.append(f"it fits: {found.device} has room for {_bytes(found.room)}")
    else:
        parts.append(
            f"it does not fit: {found.device} has room for {_bytes(found.room)}; "
            f"{what_to_lower(config, *sections)}"
        )
    return "\n".join([*parts, "nothing was written"])


def _time(seconds: float) -> str:
    """Return a duration in words.

    >>> _time(0.04), _time(75), _time(4000)
    ('1 s', '0:01:15', '1:06:40')
    """
    whole = max(1, round(seconds))
    return f"{whole} s" if whole < 60 else str(timedelta(seconds=whole))


def _bytes(count: int | None) -> str:
    """Return a number of bytes in words.

    >>> _bytes(3 << 29)
    '1.50 GiB'
    """
    return "not known" if count is None else f"{count / 2**30:.2f} GiB"
