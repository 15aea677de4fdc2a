"""`autolora-meta search`: the search alone."""

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from autolora_meta.cli.arguments import DryRun, Overlays, Overwrite, Restart, Runs, is_named

if TYPE_CHECKING:
    from autolora_meta.config.run import RunConfig
    from autolora_meta.foundation.tracking import Trackers


def search(
    overlays: Overlays,
    runs: Runs = Path("runs"),
    overwrite: Overwrite = False,
    restart: Restart = False,
    dry_run: DryRun = False,
) -> None:
    """Search only: the importance of every component, and the ranks that follow.

    The same command goes on with a search that was stopped, from its last checkpoint
    (`runtime.checkpoint_minutes`).

    Example: `autolora-meta search quickstart darts name=mine`
    """
    from autolora_meta.config.run import RunConfig

    config, named = RunConfig.load(*overlays), is_named(overlays)
    if dry_run:
        typer.echo(_measured(config))
        return
    folder = search_into(config, runs, named=named, overwrite=overwrite, restart=restart)
    typer.echo(f"written to {folder}")


def search_into(
    config: "RunConfig", runs: Path, *, named: bool, overwrite: bool = False, restart: bool = False
) -> Path:
    """Search in a folder of `runs`, or go on there, and return the folder.

    Args:
        config: of the search.
        runs: the folder above.
        named: whether somebody has chosen the name, which is then no other one.
        overwrite: replace a folder of that name.
        restart: begin anew what was stopped.
    """
    from autolora_meta.foundation.tracking import Trackers
    from autolora_meta.pipeline.check import check
    from autolora_meta.pipeline.divided import refuse_undivided
    from autolora_meta.pipeline.epochs import in_steps
    from autolora_meta.studies.folder import claimed, fill, stopped_search

    config = in_steps(config)
    config.ranks.refuse_judged()
    refuse_undivided([config], ["search"])
    wanted, numbered = runs / config.name, not (named or overwrite)
    with claimed(wanted, overwrite=overwrite, numbered=numbered, search=config) as folder:
        if folder != wanted:
            typer.echo(f"{wanted} is taken: this goes into {folder}")
            config = config.model_copy(update={"name": folder.name})
        trackers = Trackers(config.runtime.report_to, config.name, folder / "trackers")
        typer.echo(check(config).sentences(config))
        if restart or overwrite or not stopped_search(folder, config):
            fill(folder, config)
        _search(config, folder, trackers)
    return folder


def _measured(config: "RunConfig") -> str:
    from autolora_meta.pipeline.dry_run import dry_run
    from autolora_meta.pipeline.epochs import in_steps
    from autolora_meta.reporting.dry_run import dry_run_words

    config = in_steps(config)
    config.ranks.refuse_judged()
    return dry_run_words(config, dry_run(config, retrains=False))


def _search(config: "RunConfig", folder: Path, trackers: "Trackers") -> None:
    from autolora_meta.foundation.checkpoints import Checkpoints, saying_how_to_go_on
    from autolora_meta.foundation.json_files import begin_rows
    from autolora_meta.foundation.progress import Bar
    from autolora_meta.pipeline.search import search as run_search
    from autolora_meta.reporting.course import search_words
    from autolora_meta.reporting.figures import draw_search

    kept = Checkpoints(folder / "checkpoints", config.runtime.checkpoints)
    with saying_how_to_go_on(kept, typer.echo):
        result = run_search(
            config,
            progress=Bar(),
            observe=begin_rows(folder / "metrics.jsonl"),
            checkpoints=kept.folder,
            say=typer.echo,
        )
    draw_search(result, folder)
    result.save(folder)  # the last: a search that has it has ended
    kept.clear()
    trackers.search("search", folder)
    typer.echo(search_words(result))
    if unspent := result.options.unspent(result.ranks):
        typer.echo(unspent)
