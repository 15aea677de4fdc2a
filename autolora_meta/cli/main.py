"""The command line: one command for each thing that a few lines of Python do."""

import errno
import os
import re
import shutil
import signal
import threading
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from autolora_meta.cli.allocate import allocate
from autolora_meta.cli.arguments import Overlays
from autolora_meta.cli.compare import compare
from autolora_meta.cli.export import export
from autolora_meta.cli.plot import plot
from autolora_meta.cli.retrain import retrain
from autolora_meta.cli.run import run
from autolora_meta.cli.search import search
from autolora_meta.cli.study import study
from autolora_meta.cli.verify import verify
from autolora_meta.errors import InputError, shown
from autolora_meta.foundation.foreign_names import foreign

# What a disk or a name has against a file, wherever it turns up.
_OF_THE_DISK = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT)
_OF_THE_DISK += (errno.ENAMETOOLONG, errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ELOOP)


_MADE_ROOM = "; what has finished is kept: {}, and give the same command again"
_MENDED_BY = {
    errno.ENOSPC: _MADE_ROOM.format("make room on the disk"),
    errno.EDQUOT: _MADE_ROOM.format("make room in your quota"),
    errno.EROFS: _MADE_ROOM.format("let the disk be written to"),
}
_LONGEST = 10_000  # characters of a message


class _Teaching(TyperGroup):
    """Says what is wrong with the input in one message, without a traceback, and ends with 2."""

    def invoke(self, ctx: Any) -> Any:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, _stop)  # a scheduler's way to say Ctrl-C
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:  # what is kept has been said
            raise typer.Exit(130) from None
        except Exception as error:
            if not (isinstance(error, InputError) or _errno(error) in _OF_THE_DISK):
                _point_to_settings(error)
                raise
            typer.secho(f"error: {_words(error)}", err=True, fg=typer.colors.RED)
            raise typer.Exit(getattr(error, "status", 2)) from None


def _errno(error: Exception) -> int | None:
    """Return the number of what the system had against a file, also where it stands in words."""
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno
    # shutil tells of many files at once, safetensors of a system call of its own.
    if isinstance(error, shutil.Error) or type(error).__name__ == "SafetensorError":
        found = re.search(r"(?:Errno|os error) (\d+)", str(error))
        return int(found[1]) if found else None
    return None


def _words(error: Exception) -> str:
    """Return what an error says, cut where it is long: it may repeat what was given."""
    if (number := _errno(error)) is not None:
        name = getattr(error, "filename", None)
        where = f"{shown(name)}: " if name is not None else ""
        return f"{where}{os.strerror(number)}{_MENDED_BY.get(number, '')}"
    said = str(error)
    return said if len(said) <= _LONGEST else f"{said[:_LONGEST]}... ({len(said):,} characters)"


def _stop(*_: object) -> None:
    raise KeyboardInterrupt


def _point_to_settings(error: Any) -> None:
    """Add to what is said of an option that is not there: it may be meant as a setting."""
    if option := getattr(error, "option_name", None):
        known = foreign(option.lstrip("-"))
        error.message += ". Settings are given as key=value, such as lora.k=4"
        error.message += f"; {known}" if known else ""


app = typer.Typer(
    cls=_Teaching,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    help="Learn how much LoRA rank each layer needs.\n\n"
    "CONFIG is made of overlays, applied left to right: shipped configs by name (`quickstart`, "
    "`cg`), YAML files by path, and `key=value` (`search.hypergradient=neumann`).\n\n"
    "Status: 0 done; 1 some runs of a study failed; 2 the input cannot be used; 3 the work failed, "
    "with numbers that are no longer finite or no memory; 130 stopped, and the same command goes "
    "on.",
)

app.command()(run)
app.command()(search)
app.command()(allocate)
app.command()(retrain)
app.command()(compare)
app.command()(plot)
app.command()(export)
app.command()(study)
app.command()(verify)


@app.command()
def methods() -> None:
    """List the hypergradient methods: what they cost, what they need, when they are valid."""
    from autolora_meta.reporting.catalogue import methods_table

    typer.echo(methods_table())


@app.command(name="list")
def list_(
    kind: Annotated[
        str | None,
        typer.Argument(
            metavar="[KIND]",
            help="methods, arms, tasks, problems, configs or studies.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """List what a configuration can name, each with a summary and its source.

    Example: `autolora-meta list arms`
    """
    from autolora_meta.reporting.catalogue import catalogue

    typer.echo(catalogue(kind))


@app.command()
def config(overlays: Overlays) -> None:
    """Print the resolved configuration as YAML.

    Example: `autolora-meta config quickstart neumann search.outer_steps=40`
    """
    from autolora_meta.config.run import RunConfig

    typer.echo(RunConfig.load(*overlays).to_yaml(), nl=False)


if __name__ == "__main__":
    app()
