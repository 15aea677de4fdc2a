"""The command line in several processes of a launcher: the first runs the command."""

import logging
import os
import sys
import warnings

import typer

from autolora_meta.cli.main import app
from autolora_meta.errors import InputError
from autolora_meta.foundation.interrupts import answering
from autolora_meta.foundation.launcher import begun, follow, refuse_sharded
from autolora_meta.foundation.processes import Group


def main() -> None:
    """Run the command in the first process, and what it shares out in all of them."""
    first = os.environ["RANK"] == "0"
    try:
        refuse_sharded()
    except InputError as error:
        if first:
            typer.secho(f"error: {error}", err=True, fg=typer.colors.RED)
        sys.exit(error.status)
    with begun() as group:
        if first:
            app()
        sys.exit(_follow(group))


def _follow(group: Group) -> int:
    """Follow the first process, and say nothing beside it."""
    from transformers.utils import logging as of_transformers

    logging.getLogger("autolora_meta").setLevel(logging.ERROR)
    of_transformers.disable_progress_bar()
    warnings.simplefilter("ignore")
    sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115
    try:
        with answering():
            return follow(group)
    except KeyboardInterrupt:  # the first process has said what is kept
        return 130
