"""`autolora-meta allocate`: other ranks from a finished search."""

from pathlib import Path
from typing import Annotated, Any

import typer

from autolora_meta.cli.arguments import Run


def allocate(
    run: Run,
    changes: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[KEY=VALUE]...", help="Other options of `ranks`: budget=uniform:2 min_rank=1"
        ),
    ] = None,
    output: Annotated[
        Path | None, typer.Option(help="Write the rank pattern to this JSON file.")
    ] = None,
) -> None:
    """Other ranks from a finished search, without searching again.

    Example: `autolora-meta allocate runs/quickstart budget=uniform:2 importance=singular`
    """
    from autolora_meta.config.overlay import setting
    from autolora_meta.foundation.places import unused
    from autolora_meta.pipeline.result import SearchResult
    from autolora_meta.reporting.markdown import ranks_table

    if output is not None:
        unused(output)
    result = SearchResult.load(run)
    given: dict[str, Any] = {}
    for change in changes or []:
        given |= setting(change.removeprefix("ranks."))
    pattern = result.allocate(**given)
    typer.echo(ranks_table(pattern))
    if unspent := result.options.changed(**given).unspent(pattern):
        typer.echo(unspent)
    if output is not None:
        output.parent.mkdir(parents=True, exist_ok=True)
        pattern.save(output)
        typer.echo(f"written to {output}")
