"""`autolora-meta search`: the search alone."""

import json
from pathlib import Path
from typing import Any

import typer

from autolora_meta.cli.arguments import Layers, Overwrite, Runs, is_named


def search(layers: Layers, runs: Runs = Path("runs"), overwrite: Overwrite = False) -> None:
    """Search only: the importance of every component, and the ranks that follow.

    Example: `autolora-meta search quickstart darts name=mine`
    """
    from autolora_meta.foundation.progress import Bar
    from autolora_meta.foundation.tracking import Trackers
    from autolora_meta.pipeline.check import check
    from autolora_meta.pipeline.search import search as run_search
    from autolora_meta.reporting.course import search_words
    from autolora_meta.reporting.figures import draw_search
    from autolora_meta.studies.folder import made

    config, folder = _placed(layers, runs, overwrite)
    trackers = Trackers(config.runtime.report_to, config.name, folder / "trackers")
    typer.echo(check(config).sentences(config))
    made(folder, config)
    with (folder / "metrics.jsonl").open("w", encoding="utf-8", buffering=1) as metrics:
        result = run_search(
            config, progress=Bar(), observe=lambda row: print(json.dumps(row), file=metrics)
        )
    result.save(folder)
    trackers.search("search", folder)
    draw_search(result, folder)
    typer.echo(search_words(result))
    if unspent := result.options.unspent(result.ranks):
        typer.echo(unspent)
    typer.echo(f"written to {folder}")


def _placed(layers: list[str], runs: Path, overwrite: bool) -> tuple[Any, Path]:
    """Return a configuration and its folder: another than a taken one, if nobody named it."""
    from autolora_meta.config.run import RunConfig
    from autolora_meta.studies.folder import free, vacant

    config = RunConfig.load(*layers)
    folder = runs / config.name
    if not (is_named(layers) or overwrite) and (other := free(folder)) != folder:
        typer.echo(f"{folder} is taken: this goes into {other}")
        config, folder = config.model_copy(update={"name": other.name}), other
    return config, vacant(folder, overwrite=overwrite)
