"""The command line: one command for each thing that a few lines of Python do."""

import errno
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from autolora_meta.cli.allocate import allocate
from autolora_meta.cli.axolotl import axolotl
from autolora_meta.cli.compare import compare
from autolora_meta.cli.config import config
from autolora_meta.cli.export import export
from autolora_meta.cli.headroom import headroom
from autolora_meta.cli.plot import plot
from autolora_meta.cli.retrain import retrain
from autolora_meta.cli.run import run
from autolora_meta.cli.search import search
from autolora_meta.cli.study import study
from autolora_meta.cli.verify import verify
from autolora_meta.cli.weigh import weigh
from autolora_meta.errors import InputError, OutOfMemory, shown
from autolora_meta.foundation.foreign_names import foreign
from autolora_meta.foundation.interrupts import answering

# What a name or its permissions have against a file, wherever it turns up.
_OF_A_NAME = (errno.EACCES, errno.EPERM)
_OF_A_NAME += (errno.ENAMETOOLONG, errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ELOOP)
_LONGEST = 10_000  # characters of a message


class _Teaching(TyperGroup):
    """Says what is wrong with the input in one message, without a traceback, and ends with 2."""

    def invoke(self, ctx: Any) -> Any:
        try:
            with answering():
                return super().invoke(ctx)
        except KeyboardInterrupt:  # what is kept has been said
            raise typer.Exit(130) from None
        except Exception as error:
            known = _explained(error)
            if known is None:
                _point_to_settings(error)
                raise
            typer.secho(f"error: {_words(known)}", err=True, fg=typer.colors.RED)
            raise typer.Exit(getattr(known, "status", 2)) from None


def _explained(error: Exception) -> Exception | None:
    """Return an error that a person can mend; None if this one is ours to mend."""
    if isinstance(error, InputError):
        return error
    if hasattr(error, "exit_code"):  # click's own
        return None
    from autolora_meta.foundation.disk import number_of, unwritten
    from autolora_meta.foundation.memory import lacked

    if lacked(error):  # of work without a configuration, which says nothing of what to lower
        said = (str(error) or type(error).__name__).splitlines()[0]
        return OutOfMemory(f"memory is not enough ({said}); end other programs that take it")
    return unwritten(error) or (error if number_of(error) in _OF_A_NAME else None)


def _words(error: Exception) -> str:
    """Return what an error says, cut where it is long: it may repeat what was given."""
    if isinstance(error, OSError) and error.filename is not None:
        return f"{shown(error.filename)}: {error.strerror}"
    said = str(error)
    return said if len(said) <= _LONGEST else f"{said[:_LONGEST]}... ({len(said):,} characters)"


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
app.command()(axolotl)
app.command()(study)
app.command()(headroom)
app.command()(verify)
app.command()(weigh)


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


app.command()(config)


if __name__ == "__main__":
    app()
