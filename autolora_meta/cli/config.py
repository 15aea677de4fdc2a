"""`autolora-meta config`: a configuration in full, what its settings mean, and its schema."""

from typing import Annotated, Literal

import typer

from autolora_meta.errors import InputError


def config(
    overlays: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[CONFIG]...", help="Shipped names, YAML files, key=value; left to right."
        ),
    ] = None,
    explain: Annotated[
        str | None,
        typer.Option(
            metavar="KEY",
            help="Say what a setting (`search.outer.learning_rate`) or the settings of a section "
            "(`search`) mean, what they allow, and what they are in CONFIG, if one is given.",
        ),
    ] = None,
    schema: Annotated[
        Literal["run", "study"] | None,
        typer.Option(
            help="Print the JSON Schema of such files, by which editors complete and check them."
        ),
    ] = None,
) -> None:
    """Print the resolved configuration as YAML.

    Example: `autolora-meta config quickstart neumann search.outer_steps=40`

    Example: `autolora-meta config quickstart --explain search.outer.learning_rate`
    """
    if schema is not None and (explain is not None or overlays):
        raise InputError("--schema is of all configurations; give it alone")
    if not overlays and explain is None and schema is None:
        raise InputError(
            "no configuration is given; give overlays, such as quickstart, or --explain KEY"
        )
    if schema is not None:
        from autolora_meta.studies.file_schema import shipped_schemas

        typer.echo(shipped_schemas()[f"{schema}.json"], nl=False)
        return

    from autolora_meta.config.explain import explain as words
    from autolora_meta.config.run import RunConfig

    given = RunConfig.load(*overlays) if overlays else None
    if explain is not None:
        typer.echo(words(explain, given))
    elif given is not None:
        typer.echo(given.to_yaml(), nl=False)
