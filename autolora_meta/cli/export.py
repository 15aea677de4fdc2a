"""`autolora-meta export`: the ranks of an adapter, or the adapter in another tool's form."""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, Any

import typer

from autolora_meta.cli.arguments import Trust
from autolora_meta.errors import InputError, unknown

if TYPE_CHECKING:
    from autolora_meta.exporting.source import Source


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
            "one rank everywhere, for serving engines that ignore rank patterns; `start`: an "
            "adapter with these ranks that other tools train from.",
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
    weights: Annotated[
        str,
        typer.Option(
            metavar="none|search",
            help="What a start holds: `none`: A as PEFT draws it and B = 0; `search`: what the "
            "search trained, cut to the ranks.",
        ),
    ] = "none",
    push: Annotated[
        str | None,
        typer.Option(
            metavar="USER/NAME",
            help="Upload it to this repository of the hub with a model card, instead of writing "
            "it; without --to the adapter as it is.",
        ),
    ] = None,
    private: Annotated[
        bool, typer.Option("--private", help="Make a new repository a private one.")
    ] = False,
    seed: Annotated[int, typer.Option(min=0, help="The seed that A of a start is drawn from.")] = 0,
    trust_remote_code: Trust = False,
) -> None:
    """Show the ranks of an adapter, or write it in the form of another tool.

    Every export is loaded again, and its logits are compared.

    Example: `autolora-meta export runs/quickstart --to merged --output models/mine`
    """
    from autolora_meta.exporting.export import export as run_export
    from autolora_meta.exporting.source import find
    from autolora_meta.reporting.markdown import ranks_table

    if weights not in ("none", "search"):
        raise InputError(unknown("weights", weights, ("none", "search")))
    settings: dict[str, Any] = {"base": base, "trust_remote_code": trust_remote_code}
    settings |= {"weights": weights, "seed": seed, "say": typer.echo}
    if push is not None:
        if output is not None:
            raise InputError(f"--push uploads what --output {output} would keep; give one of them")
        _push(folder, to, push, private, settings)
        return
    if to is None:
        if output is not None:
            raise InputError(
                f"--output {output} needs --to: peft, axolotl, trainer, merged, padded or start"
            )
        source = find(folder, base)
        typer.echo(ranks_table(source.pattern))
        typer.echo(f"scale (alpha / rank) {_scale(source)}")
        typer.echo(f"base model {source.name or 'not said'}")
        return
    if output is None:
        raise InputError(f"--to {to} needs --output: the file or folder to write")
    typer.echo(f"written to {run_export(folder, to, output, **settings)}")


def _scale(source: "Source") -> str:
    low, high = source.scales
    same = high - low <= 1e-9 * high
    return f"{low:g}" + ("" if same else f" to {high:g}")


def _push(folder: Path, to: str | None, repo: str, private: bool, settings: dict[str, Any]) -> None:
    """Write the form into a temporary folder, give it a card and upload it."""
    from autolora_meta.exporting.export import export as run_export
    from autolora_meta.exporting.push import copy_to_push, fit_card, push, refuse_push
    from autolora_meta.exporting.source import find
    from autolora_meta.reporting.card import plain_card

    source = find(folder, settings["base"])
    refuse_push(repo, to, source)
    with TemporaryDirectory(prefix="autolora-") as beside:
        place = Path(beside) / "adapter"
        if to is None:
            copy_to_push(source, place)
        else:
            run_export(folder, to, place, **settings)
        otherwise = plain_card(source.pattern, _scale(source), trained=to != "start")
        fit_card(place, repo, None if to == "merged" else source.name, otherwise)
        typer.echo(f"pushed to {push(place, repo, private=private, say=typer.echo)}")
