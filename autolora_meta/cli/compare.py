"""`autolora-meta compare`: what may be concluded from the table of a run or a study."""

from pathlib import Path
from typing import Annotated

import typer

from autolora_meta.errors import InputError


def compare(
    table: Annotated[
        Path,
        typer.Argument(metavar="TABLE", help="The folder of a run or a study, or its table.json."),
    ],
    key: Annotated[
        str | None, typer.Option(help="What is compared: arm, variant, or a key that is varied.")
    ] = None,
    baseline: Annotated[
        str | None, typer.Option(help="The value that differences are taken from.")
    ] = None,
    metric: Annotated[
        str | None, typer.Option(help="Which metric; `all`: every one. Default: the main one.")
    ] = None,
    over: Annotated[
        list[str] | None,
        typer.Option(help="A key whose values are averaged within each seed; may be repeated."),
    ] = None,
) -> None:
    """Compare arms or settings of a finished run or study, paired over its seeds.

    Without options it answers what the run or study asked, the primary comparison first. With
    --baseline it asks another question; that is one more chance to find what is not there.

    Examples:

    `autolora-meta compare runs/quickstart`

    `autolora-meta compare runs/mine --key lora.k --baseline 4 --metric all`
    """
    from autolora_meta.errors import unknown
    from autolora_meta.reporting.cells import means
    from autolora_meta.reporting.markdown import table as markdown
    from autolora_meta.reporting.sentences import groups
    from autolora_meta.studies.labels import value_label
    from autolora_meta.studies.questions import ARM
    from autolora_meta.studies.table import StudyTable

    found = StudyTable.load(table)
    typer.echo(f"{markdown(*means(found))}\n")
    if baseline is None:
        if given := [n for n, v in (("key", key), ("metric", metric), ("over", over)) if v]:
            raise InputError(f"--{given[0]} belongs to a question of your own; add --baseline")
        for group in groups(found):
            typer.echo(f"{group.heading}:")
            typer.echo("".join(f"- {said}\n" for said in group.sentences))
        return
    values = {value_label(value): value for value in found.values(key or ARM)}
    if baseline not in values:
        raise InputError(unknown("value", baseline, values))
    asked = found.compare(key or ARM, baseline=values[baseline], metric=metric, over=over or ())
    for said in dict.fromkeys(contrast.sentence for contrast in asked):
        typer.echo(f"- {said}")
