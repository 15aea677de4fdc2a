"""Arguments and options that several commands take."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from autolora_meta.errors import InputError, WorkFailed
from autolora_meta.foundation.reading import refuse_special

Overlays = Annotated[
    list[str],
    typer.Argument(
        metavar="CONFIG...", help="Shipped names, YAML files, key=value; left to right."
    ),
]
Runs = Annotated[
    Path,
    typer.Option(
        help="The folder that run folders go into. A name that another run has taken gets a "
        "number; with name=... on the command line it is refused."
    ),
]
Overwrite = Annotated[
    bool, typer.Option("--overwrite", help="Replace a run folder of the same name.")
]
Restart = Annotated[
    bool,
    typer.Option(
        "--restart", help="Begin anew what was stopped, instead of going on from its checkpoints."
    ),
]
RetryFailed = Annotated[
    bool, typer.Option("--retry-failed", help="Run those jobs again that failed before.")
]
Wait = Annotated[
    bool, typer.Option("--wait", help="Wait for another process that works on this folder.")
]
DryRun = Annotated[
    bool,
    typer.Option(
        "--dry-run",
        help="Measure a step of each phase (time, memory, trained parameters), and write nothing.",
    ),
]
Executor = Annotated[
    str,
    typer.Option(
        metavar="NAME",
        help="What runs the jobs: `local` processes, or `dask`, `ray` or `submitit` (Slurm), each "
        "an extra to install. All machines see the runs folder.",
    ),
]
ExecutorOptions = Annotated[
    list[str] | None,
    typer.Option(
        "--executor-option",
        metavar="KEY=VALUE",
        help="Of that executor, as often as there are some: `address=...` (dask, ray), "
        "`num_gpus=1` (ray), `slurm_partition=gpu` (submitit).",
    ),
]
Trust = Annotated[
    bool,
    typer.Option(
        "--trust-remote-code",
        help="Run Python code that comes with the model, of authors you trust.",
    ),
]
Run = Annotated[Path, typer.Argument(metavar="RUN", help="A folder that `run` or `search` wrote.")]


def end_with(failed: Sequence[Mapping[str, Any]]) -> None:
    """End with status 1 if runs of a study have failed; with 3 if the work itself failed in one."""
    if failed:
        kinds = [f"{kind.__name__}:" for kind in WorkFailed.__subclasses__()]
        worked = any(kind in row["error"] for row in failed for kind in kinds)
        raise typer.Exit(WorkFailed.status if worked else 1)


def is_named(overlays: list[str]) -> bool:
    """Return whether somebody has named the folder, with `name=...`."""
    return any(overlay.partition("=")[0].strip() == "name" for overlay in overlays)


def existing(path: Path) -> Path:
    """Return `path`, if it is a file."""
    if not os.path.exists(path):
        raise InputError(f"there is no {path}; give a folder that `autolora-meta run` has written")
    refuse_special(path)
    return path
