"""`autolora-meta verify`: every hypergradient method held against its own formula."""

import json
from pathlib import Path
from typing import Annotated

import typer

from autolora_meta.errors import InputError


def verify(
    overlays: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[CONFIG]...", help="With --model: whose model and data; default quickstart."
        ),
    ] = None,
    model: Annotated[
        bool, typer.Option("--model", help="Also on a model and data, in float32 and bf16.")
    ] = False,
    json_file: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="Write the rows to this file.")
    ] = None,
    figure: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Draw error against cost: .png, .svg, .pdf."),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Short for --json DIR/accuracy.json and the figure."),
    ] = None,
) -> None:
    """Hold every hypergradient method against its own formula, betty's beside ours.

    Without --model: ridge regression, quadratics and a tiny transformer in float64, which take
    seconds. With it: your own configuration's model too, in train mode with dropout, a few minutes.

    Example: `autolora-meta verify --model quickstart model.name=./my-encoder --output verified`
    """
    from dataclasses import asdict

    from autolora_meta.config.run import RunConfig
    from autolora_meta.foundation.places import unused
    from autolora_meta.pipeline.prepare import refuse_unusable
    from autolora_meta.reporting.accuracy import accuracy_against_cost, accuracy_table
    from autolora_meta.reporting.style import known_format, save
    from autolora_meta.verification.accuracy import verify as run_verify
    from autolora_meta.verification.accuracy_targets import verdicts

    if overlays and not model:
        raise InputError(
            f"the configuration ({' '.join(overlays)}) says whose model to verify; add --model"
        )
    if output is not None:
        json_file, figure = json_file or output / "accuracy.json", figure or output / "accuracy.png"
    for path, option in ((json_file, "--json"), (figure, "--figure")):
        if path is not None:
            unused(path, option)
    if figure is not None:
        known_format(figure)
        if figure == json_file:
            raise InputError(f"--json and --figure both name {figure}; give each a file of its own")
    config = RunConfig.load(*(overlays or ["quickstart"])) if model else None
    if config is not None:  # the small problems come first
        refuse_unusable(config, config.seed)
    rows = run_verify(config, say=lambda text: typer.echo(f"measuring: {text}", err=True))
    typer.echo(accuracy_table(rows))
    typer.echo("\n".join(["", *verdicts(rows)]))
    for path in filter(None, (json_file, figure)):
        path.parent.mkdir(parents=True, exist_ok=True)
    if json_file is not None:
        lines = json.dumps([asdict(row) for row in rows], indent=1)
        json_file.write_text(lines + "\n", encoding="utf-8")
        typer.echo(f"written to {json_file}")
    if figure is not None:
        save(accuracy_against_cost(rows), figure)
        typer.echo(f"written to {figure}")
