"""`autolora-meta study`: a grid of configurations, arms and seeds, to one table and its answer."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from autolora_meta.studies.plan import Planned
    from autolora_meta.studies.study import Study


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
        typer.Option("--dry-run", help="List the runs that are left, and run none; data are read."),
    ] = False,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Run those again that failed before.")
    ] = False,
    wait: Annotated[
        bool, typer.Option("--wait", help="Wait for another process that works on this study.")
    ] = False,
    runs: Annotated[
        Path, typer.Option(help="The folder that the study's folder goes into, by its name.")
    ] = Path("runs"),
) -> None:
    """Run a study: every configuration of its grid, every arm, every seed; then compare.

    What has finished is not run again: the same command goes on with a study that was stopped, and
    more seeds or values are added to it. A run that fails does not stop the others.

    Examples:

    `autolora-meta study hypergradients --smoke`

    `autolora-meta study mine.yaml seeds=10 name=mine-long`
    """
    from autolora_meta.foundation.progress import Bar
    from autolora_meta.reporting.page import page
    from autolora_meta.reporting.report import draw_run
    from autolora_meta.reporting.study import study_plan, write_summary
    from autolora_meta.studies.options import read_study
    from autolora_meta.studies.study import Study

    name = read_study(file, *(changes or []), smoke=smoke).name
    work = Study.load(file, *(changes or []), smoke=smoke, folder=runs / name)
    work.refuse_unwritable()
    left = work.left(retry_failed=retry_failed)
    if dry_run:
        work.check(typer.echo)
        typer.echo(study_plan(left, work.jobs(left)))
        return
    typer.echo(_ahead(work, left))
    table = work.run(retry_failed=retry_failed, wait=wait, progress=Bar(), say=typer.echo)
    words = write_summary(work.folder)
    draw_run(work.folder)
    written = page(work.folder)
    typer.echo(f"\n{words}")
    typer.echo(
        f"Everything is in {work.folder}: {written.name}, summary.md, table.json, figures/, runs/"
    )
    if table.failed:
        raise typer.Exit(1)


def _ahead(study: "Study", left: "list[Planned]") -> str:
    """What is to be run, what it is to show, and what the folder holds beside it."""
    from autolora_meta.studies.answers import primary_words

    shared = len(study.jobs(left)) - len(left)
    lines = [
        f"{len(left)} of {len({run.id for run in study.planned})} runs to do"
        + (f", and {shared} searches and measurements that they share" if shared else "")
        + f", in {study.folder}"
    ]
    if named := primary_words(study.options):
        lines.append(f"primary comparison: {named}; all others are secondary")
    if failed := len({row["id"] for row in study.table().failed} - {run.id for run in left}):
        lines.append(f"{failed} failed before and are left as they are; --retry-failed tries again")
    if beside := study.beside():
        lines.append(
            f"{beside} finished runs in this folder are not asked for: they are kept, and stay out "
            "of the table and the page that are written now (name=... gives them another folder)"
        )
    return "\n".join(lines)
