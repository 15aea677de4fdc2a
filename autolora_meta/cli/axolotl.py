"""`autolora-meta axolotl`: learned ranks in an axolotl configuration."""

from pathlib import Path
from typing import Annotated

import typer

from autolora_meta.cli.arguments import Runs, is_named


def axolotl(
    file: Annotated[
        Path, typer.Argument(metavar="CONFIG.yml", help="An axolotl configuration of LoRA.")
    ],
    changes: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[CHANGE]...", help="Settings of the search: shipped names, YAML, key=value."
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="The configuration to write; it must not exist."),
    ] = None,
    run: Annotated[
        Path | None,
        typer.Option(
            help="A finished run, search or adapter to take ranks from, without a search."
        ),
    ] = None,
    runs: Runs = Path("runs"),
) -> None:
    """Write a copy of an axolotl configuration with a learned rank for each layer.

    Without --run it searches first, on the model and the texts that the configuration names; the
    same command goes on with a search that was stopped. axolotl 0.18 or newer reads the ranks.

    Example: `autolora-meta axolotl lora.yml --run runs/quickstart --output ranked.yml`
    """
    from autolora_meta.cli.search import search_into
    from autolora_meta.config.run import RunConfig
    from autolora_meta.errors import InputError
    from autolora_meta.exporting.axolotl import read_axolotl, search_settings, with_ranks
    from autolora_meta.exporting.source import find
    from autolora_meta.foundation.places import replace_text, unused
    from autolora_meta.foundation.reading import file_text

    text, changes = file_text(file), changes or []
    given = read_axolotl(text, file.name)
    if output is None:
        raise InputError(f"give --output: {file} itself is left as it is")
    if run is not None and changes:
        raise InputError(f"{' '.join(changes)} would change a search, and --run needs none")
    place = unused(output)
    if run is None:
        settings = {"name": file.stem, **search_settings(given, file.name)}
        run = search_into(RunConfig.load(settings, *changes), runs, named=is_named(changes))
    source = find(run)
    if source.name != given["base_model"]:
        typer.echo(f"the ranks are of {source.name}, and {file.name} is of {given['base_model']}")
    place.parent.mkdir(parents=True, exist_ok=True)
    replace_text(place, with_ranks(text, source.config, file.name))
    typer.echo(f"written to {place}; train with: axolotl train {place}")
