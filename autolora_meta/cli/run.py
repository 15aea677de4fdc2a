"""`autolora-meta run`: the whole job."""

from pathlib import Path

import typer

from autolora_meta.cli.arguments import (
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


def run(
    overlays: Overlays,
    runs: Runs = Path("runs"),
    overwrite: Overwrite = False,
    retry_failed: RetryFailed = False,
    wait: Wait = False,
    restart: Restart = False,
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
    from autolora_meta.studies.elsewhere.opened import opened
    from autolora_meta.workflow import placed
    from autolora_meta.workflow import run as run_all

    config = RunConfig.load(*overlays)
    folder = runs / config.name
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
