"""`autolora-meta export`: the ranks of an adapter, or the adapter in another tool's form."""

from pathlib import Path
from typing import Annotated

import typer

from autolora_meta.cli.arguments import Trust
from autolora_meta.errors import InputError


def export(
    folder: Annotated[
        Path,
        typer.Argument(metavar="RUN", help="The folder of a run, or of any PEFT adapter (LoRA)."),
    ],
    to: Annotated[
        str | None,
        typer.Option(
            metavar="FORM",
            help="`peft`: the adapter's folder and LoraConfig; `axolotl`: part of a YAML; "
            "`trainer`: a Python file for Trainer and TRL; `merged`: a model of its own; `padded`: "
            "one rank everywhere, for serving engines that ignore rank patterns.",
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="The file (axolotl, trainer) or folder to write."),
    ] = None,
    base: Annotated[
        str | None,
        typer.Option(help="Folder or hub id of the base model, if it is elsewhere now."),
    ] = None,
    trust_remote_code: Trust = False,
) -> None:
    """Show the ranks of an adapter, or write it in the form of another tool.

    Every export is loaded again, and its logits are compared.

    Example: `autolora-meta export runs/quickstart --to merged --output models/mine`
    """
    from autolora_meta.exporting.export import export as run_export
    from autolora_meta.exporting.source import find
    from autolora_meta.reporting.markdown import ranks_table

    if to is None:
        if output is not None:
            raise InputError(
                f"--output {output} needs --to: peft, axolotl, trainer, merged or padded"
            )
        source = find(folder, base)
        typer.echo(ranks_table(source.pattern))
        low, high = source.scales
        same = high - low <= 1e-9 * high
        typer.echo(f"scale (alpha / rank) {low:g}" + ("" if same else f" to {high:g}"))
        typer.echo(f"base model {source.name or 'not said'}")
        return
    if output is None:
        raise InputError(f"--to {to} needs --output: the file or folder to write")
    written = run_export(
        folder, to, output, base=base, trust_remote_code=trust_remote_code, say=typer.echo
    )
    typer.echo(f"written to {written}")
