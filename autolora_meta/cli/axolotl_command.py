"""`axolotl autolora-ranks`: our command inside of axolotl's command line (0.18 or newer)."""

from collections.abc import Sequence

import click


@click.command(
    context_settings={"ignore_unknown_options": True, "allow_extra_args": True},
    add_help_option=False,  # ours answers
)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def command(arguments: Sequence[str]) -> None:
    """Learn a LoRA rank for each layer, and write them into a copy of a configuration."""
    from autolora_meta.cli.main import app

    app(["axolotl", *arguments], prog_name="autolora-meta")
