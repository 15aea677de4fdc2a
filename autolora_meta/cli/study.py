"""`autolora-meta study`: a grid of configurations, arms and seeds, to one table and its answer."""

from pathlib import Path
from typing import Annotated

import typer

from autolora_meta.cli.arguments import (
    Executor,
    ExecutorOptions,
    Restart,
    RetryFailed,
    Wait,
    end_with,
)


def study(
    file: Annotated[
        str, typer.Argument(metavar="FILE", help="A YAML file, or the name of a shipped study.")
    ],
    changes: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[KEY=VALUE]...",
            help="Of the study (`seeds=3`, `arms=[learned, uniform]`, `vary.lora.k=[2, 4]`), or of "
            "the configuration that all runs start from (`search.outer_steps=20`).",
        ),
    ] = None,
    smoke: Annotated[
        bool, typer.Option("--smoke", help="The small size that the file gives: about a minute.")
    ] = False,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run",
            help="List the runs that are left, measure a step of each phase of the first of them "
            "(time, memory), and write nothing.",
        ),
    ] = False,
    retry_failed: RetryFailed = False,
    wait: Wait = False,
    restart: Restart = False,
    runs: Annotated[
        Path, typer.Option(help="The folder that the study's folder goes into, by its name.")
    ] = Path("runs"),
    executor: Executor = "local",
    executor_option: ExecutorOptions = None,
) -> None:
    """Run a study: every configuration of its grid, every arm, every seed; then compare.

    What has finished is not run again: the same command goes on with a study that was stopped, and
    more seeds or values are added to it. A run that fails does not stop the others.

    Examples:

    `autolora-meta study hypergradients --smoke`

    `autolora-meta study mine.yaml seeds=10 name=mine-long`

    `autolora-meta study mine.yaml --executor submitit --executor-option slurm_partition=gpu`
    """
    from autolora_meta.errors import InputError
    from autolora_meta.foundation.progress import Bar
    from autolora_meta.pipeline.dry_run import dry_run as measure
    from autolora_meta.reporting.dry_run import dry_run_words
    from autolora_meta.reporting.summary import study_plan
    from autolora_meta.studies.elsewhere.opened import opened
    from autolora_meta.studies.options import read_study
    from autolora_meta.studies.study import Study
    from autolora_meta.workflow import complete

    name = read_study(file, *(changes or []), smoke=smoke).name
    work = Study.load(file, *(changes or []), smoke=smoke, folder=runs / name)
    work.refuse_unwritable()
    if dry_run:
        left = work.left(retry_failed=retry_failed)
        work.check(typer.echo)
        jobs = work.jobs(left)
        typer.echo(study_plan(left, jobs))
        if left:
            try:
                words = dry_run_words(left[0].config, measure(left[0].config), jobs)
                typer.echo(f"\nmeasured with {left[0].label}:\n\n{words}")
            except InputError as refused:  # of this run; others may do
                typer.echo(f"\n{left[0].label} cannot be measured: {refused}")
        return
    with opened(executor, executor_option or [], work.folder) as workers:
        table = complete(
            work,
            executor=workers,
            retry_failed=retry_failed,
            wait=wait,
            restart=restart,
            progress=Bar(),
            say=typer.echo,
        )
    end_with(table.failed)
