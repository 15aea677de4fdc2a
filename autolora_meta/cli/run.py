"""`autolora-meta run`: the whole job."""

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from autolora_meta.cli.arguments import (
    DryRun,
    Executor,
    ExecutorOptions,
    Overlays,
    Overwrite,
    Restart,
    RetryFailed,
    Runs,
    Wait,
    end_with,
    is_named,
)

if TYPE_CHECKING:
    from autolora_meta.config.run import RunConfig


def run(
    overlays: Overlays,
    runs: Runs = Path("runs"),
    overwrite: Overwrite = False,
    retry_failed: RetryFailed = False,
    wait: Wait = False,
    restart: Restart = False,
    dry_run: DryRun = False,
    executor: Executor = "local",
    executor_option: ExecutorOptions = None,
) -> None:
    """Search, allocate, retrain, compare and report: the whole job.

    What has finished is not run again: the same command goes on with a run that was stopped, its
    searches and retrainings from their last checkpoints (`runtime.checkpoint_minutes`). A job that
    fails does not stop the others.

    Example: `autolora-meta run quickstart cg compare.replicates=3`
    """
    from autolora_meta.config.run import RunConfig
    from autolora_meta.foundation.progress import Bar
    from autolora_meta.pipeline.epochs import in_steps
    from autolora_meta.studies.elsewhere.opened import opened
    from autolora_meta.workflow import placed
    from autolora_meta.workflow import run as run_all

    config = in_steps(RunConfig.load(*overlays))
    folder = runs / config.name
    if dry_run:
        typer.echo(_measured(config, folder))
        return
    if not (overwrite or is_named(overlays)):
        config, other = placed(config, folder)
        if other != folder:
            typer.echo(f"{folder} holds another run: this goes into {other}")
        folder = other
    with opened(executor, executor_option or [], folder) as workers:
        table = run_all(
            config,
            folder,
            executor=workers,
            overwrite=overwrite,
            retry_failed=retry_failed,
            wait=wait,
            restart=restart,
            progress=Bar(),
            say=typer.echo,
        )
    end_with(table.failed)


def _measured(config: "RunConfig", folder: Path) -> str:
    from autolora_meta.pipeline.dry_run import dry_run
    from autolora_meta.reporting.dry_run import dry_run_words
    from autolora_meta.studies.study import Study

    study = Study.of(config, folder)
    return dry_run_words(config, dry_run(config), study.jobs(study.left()))
