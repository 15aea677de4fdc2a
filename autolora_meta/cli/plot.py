"""`autolora-meta plot`: figures of ranks, of runs or of adapters made elsewhere."""

from pathlib import Path
from typing import Annotated

import typer

from autolora_meta.errors import InputError


def plot(
    paths: Annotated[
        list[Path],
        typer.Argument(
            metavar="PATH...",
            help="Folders of runs, of searches or of PEFT adapters (LoRA, whoever made them), or "
            "rank patterns of `allocate`; all of one model.",
        ),
    ],
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            help="A file (.png, .svg, .pdf) for one figure, or a folder for all that the paths "
            "allow. Without it, figures, summary and page of one run or study are made again, in "
            "its folder.",
        ),
    ] = None,
    figure: Annotated[
        str | None,
        typer.Option(
            help="`ranks`: a heatmap, layers by kind of module, side by side for several paths. "
            "`spread`: each layer's ranks over searches, beside equal ranks. `mean`: a heatmap of "
            "the mean over searches for each path. `stability`: mean and deviation over searches, "
            "Kendall's W. `over-time`: the ranks during one search. By "
            "default `ranks` of one search, `spread` of several.",
        ),
    ] = None,
) -> None:
    """Draw the ranks of runs, of searches, or of adapters made elsewhere.

    No model is loaded: the ranks of an adapter are the shapes of its factors. A run counts one
    search for each replicate, a pooled search one for each seed.

    Examples:

    `autolora-meta plot runs/quickstart`

    `autolora-meta plot runs/quickstart --figure stability --output stability.pdf`

    `autolora-meta plot runs/quickstart my-adapter --figure ranks --output side-by-side.svg`

    `autolora-meta plot runs/seed-* --output figures/seeds`
    """
    from autolora_meta.foundation.places import writable
    from autolora_meta.reporting.draw import draw_ranks
    from autolora_meta.reporting.figures import draw_all
    from autolora_meta.reporting.page import page
    from autolora_meta.reporting.summary import write_summary
    from autolora_meta.studies.table import FILE

    if output is not None:
        for file in draw_ranks(paths, output, figure):
            typer.echo(f"written to {file}")
        return
    if len(paths) > 1 or figure is not None:
        raise InputError(
            "say where the figure goes: --output with a file (.png, .svg, .pdf) or a new folder"
        )
    if paths[0].is_dir():
        writable(paths[0] / "figures")
    draw_all(paths[0])
    typer.echo(f"written to {paths[0] / 'figures'}")
    if (paths[0] / FILE).is_file():
        write_summary(paths[0])
        typer.echo(f"written to {paths[0] / 'summary.md'}")
        typer.echo(f"written to {page(paths[0])}")
