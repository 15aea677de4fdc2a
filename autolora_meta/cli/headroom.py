"""`autolora-meta headroom`: whether ranks matter at all, before anything is searched."""

from pathlib import Path
from typing import Annotated

import typer

from autolora_meta.cli.arguments import (
    Executor,
    ExecutorOptions,
    Overlays,
    Overwrite,
    Restart,
    RetryFailed,
    Wait,
    end_with,
)


def headroom(
    overlays: Overlays,
    patterns: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            help="How many random patterns, at least 4. Default: compare.headroom of the "
            "configuration, or 20.",
            show_default=False,
        ),
    ] = None,
    runs: Annotated[
        Path, typer.Option(help="The folder that the folder NAME-headroom goes into.")
    ] = Path("runs"),
    overwrite: Overwrite = False,
    retry_failed: RetryFailed = False,
    wait: Wait = False,
    restart: Restart = False,
    executor: Executor = "local",
    executor_option: ExecutorOptions = None,
) -> None:
    """Say whether ranks matter here, before anything is searched.

    Uniform ranks and N random patterns at the same budget are retrained in every replicate
    (`compare.replicates`; 4 at least, 8 or more to tell much). The best of the patterns is chosen
    on one half of the replicates and judged on the other, since the best of many is also the
    luckiest. Where it gains nothing, use uniform ranks: a search has little to find. It costs N + 1
    retrainings a replicate and no search; all can be trained in one pass (`runtime.stack`).

    The folder holds headroom.json, figures/headroom and the page. The same command goes on with
    what was stopped; more patterns or replicates are added to what has finished.

    Examples:

    `autolora-meta headroom quickstart compare.replicates=8`

    `autolora-meta headroom mine.yaml --patterns 40 compare.primary.metric=cross_entropy`
    """
    from autolora_meta.config.run import RunConfig
    from autolora_meta.foundation.progress import Bar
    from autolora_meta.studies.elsewhere.opened import opened
    from autolora_meta.studies.headroom import headroom_study
    from autolora_meta.workflow import complete

    config = RunConfig.load(*overlays)
    count = patterns if patterns is not None else config.compare.headroom or 20
    study = headroom_study(config, count, runs / f"{config.name}-headroom")
    with opened(executor, executor_option or [], study.folder) as workers:
        table = complete(
            study,
            executor=workers,
            overwrite=overwrite,
            retry_failed=retry_failed,
            wait=wait,
            restart=restart,
            progress=Bar(),
            say=typer.echo,
        )
    end_with(table.failed)
