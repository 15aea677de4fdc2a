"""The command line: one command for each thing that a few lines of Python do."""

import errno
import json
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from autolora_meta.cli.compare import compare
from autolora_meta.cli.export import export
from autolora_meta.cli.plot import plot
from autolora_meta.cli.study import study
from autolora_meta.cli.verify import verify
from autolora_meta.errors import InputError
from autolora_meta.foundation.foreign_names import foreign

# What a disk or a name has against a file, wherever it turns up.
_OF_THE_DISK = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT)
_OF_THE_DISK += (errno.ENAMETOOLONG, errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ELOOP)


class _Teaching(TyperGroup):
    """Says what is wrong with the input in one message, without a traceback, and ends with 2."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:  # what is kept has been said
            raise typer.Exit(130) from None
        except (InputError, OSError) as error:
            if not (isinstance(error, InputError) or error.errno in _OF_THE_DISK):
                raise
            typer.secho(f"error: {error}", err=True, fg=typer.colors.RED)
            raise typer.Exit(2) from None
        except Exception as error:
            _point_to_settings(error)
            raise


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
    "CONFIG is made of layers, applied left to right: shipped configs by name (`quickstart`, "
    "`cg`), YAML files by path, and `key=value` (`search.hypergradient=neumann`).",
)

Layers = Annotated[
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
RetryFailed = Annotated[
    bool, typer.Option("--retry-failed", help="Run those jobs again that failed before.")
]
Wait = Annotated[
    bool, typer.Option("--wait", help="Wait for another process that works on this folder.")
]
Run = Annotated[Path, typer.Argument(metavar="RUN", help="A folder that `run` or `search` wrote.")]


@app.command()
def run(
    layers: Layers,
    runs: Runs = Path("runs"),
    overwrite: Overwrite = False,
    retry_failed: RetryFailed = False,
    wait: Wait = False,
) -> None:
    """Search, allocate, retrain, compare and report: the whole job.

    What has finished is not run again: the same command goes on with a run that was stopped. A job
    that fails does not stop the others.

    Example: `autolora-meta run quickstart cg compare.replicates=3`
    """
    from autolora_meta.config.run import RunConfig
    from autolora_meta.foundation.progress import Bar
    from autolora_meta.workflow import placed
    from autolora_meta.workflow import run as run_all

    config = RunConfig.load(*layers)
    folder = runs / config.name
    if not (overwrite or _is_named(layers)):
        config, other = placed(config, folder)
        if other != folder:
            typer.echo(f"{folder} holds another run: this goes into {other}")
        folder = other
    table = run_all(
        config,
        folder,
        overwrite=overwrite,
        retry_failed=retry_failed,
        wait=wait,
        progress=Bar(),
        say=typer.echo,
    )
    if table.failed:
        raise typer.Exit(1)


@app.command()
def search(layers: Layers, runs: Runs = Path("runs"), overwrite: Overwrite = False) -> None:
    """Search only: the importance of every component, and the ranks that follow.

    Example: `autolora-meta search quickstart darts name=mine`
    """
    from autolora_meta.foundation.progress import Bar
    from autolora_meta.foundation.tracking import Trackers
    from autolora_meta.pipeline.check import check
    from autolora_meta.pipeline.search import search as run_search
    from autolora_meta.reporting.course import search_words
    from autolora_meta.reporting.figures import draw_search
    from autolora_meta.studies.folder import made

    config, folder = _placed(layers, runs, overwrite)
    trackers = Trackers(config.runtime.report_to, config.name, folder / "trackers")
    typer.echo(check(config).sentences(config))
    made(folder, config)
    with (folder / "metrics.jsonl").open("w", encoding="utf-8", buffering=1) as metrics:
        result = run_search(
            config, progress=Bar(), observe=lambda row: print(json.dumps(row), file=metrics)
        )
    result.save(folder)
    trackers.search("search", folder)
    draw_search(result, folder)
    typer.echo(search_words(result))
    if unspent := result.options.unspent(result.ranks):
        typer.echo(unspent)
    typer.echo(f"written to {folder}")


@app.command()
def allocate(
    run: Run,
    changes: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[KEY=VALUE]...", help="Other options of `ranks`: budget=uniform:2 min_rank=1"
        ),
    ] = None,
    output: Annotated[
        Path | None, typer.Option(help="Write the rank pattern to this JSON file.")
    ] = None,
) -> None:
    """Other ranks from a finished search, without searching again.

    Example: `autolora-meta allocate runs/quickstart budget=uniform:2 importance=singular`
    """
    from autolora_meta.config.overlay import setting
    from autolora_meta.foundation.places import unused
    from autolora_meta.pipeline.result import SearchResult
    from autolora_meta.reporting.markdown import ranks_table

    if output is not None:
        unused(output)
    result = SearchResult.load(run)
    given: dict[str, Any] = {}
    for change in changes or []:
        given |= setting(change.removeprefix("ranks."))
    pattern = result.allocate(**given)
    typer.echo(ranks_table(pattern))
    if unspent := result.options.changed(**given).unspent(pattern):
        typer.echo(unspent)
    if output is not None:
        output.parent.mkdir(parents=True, exist_ok=True)
        pattern.save(output)
        typer.echo(f"written to {output}")


@app.command()
def retrain(
    run: Run,
    output: Annotated[Path, typer.Option(help="The folder that the adapter goes into.")],
    ranks: Annotated[
        Path | None, typer.Option(help="A rank pattern of `allocate`; by default the run's own.")
    ] = None,
    start: Annotated[
        str | None,
        typer.Option(
            help="`scratch`, or `search`: go on from what the run's search trained, cut to the "
            "ranks; by default as the run did."
        ),
    ] = None,
    base: Annotated[
        str | None,
        typer.Option(help="Folder or hub id of the base model, if it is elsewhere now."),
    ] = None,
) -> None:
    """Retrain a PEFT adapter with the ranks of a run, or with others.

    Example: `autolora-meta retrain runs/quickstart --ranks wide.json --output adapters/wide`
    """
    from autolora_meta.config.run import RunConfig
    from autolora_meta.foundation.places import unused
    from autolora_meta.foundation.progress import Bar
    from autolora_meta.pipeline.prepare import prepare
    from autolora_meta.pipeline.result import SearchResult
    from autolora_meta.pipeline.retrain import retrain as run_retrain
    from autolora_meta.ranks.pattern import RankPattern
    from autolora_meta.reporting.adapter import KeepAdapter

    unused(output)
    config = RunConfig.load(
        _file(run / "config.yaml"),
        {"retrain": {"start": start}} if start else {},
        {"model": {"name": base, "revision": None}} if base else {},
    )
    pattern = RankPattern.load(_file(ranks or run / "ranks.json"))
    prepared = prepare(config)
    trained = SearchResult.load(run).start if config.retrain.start == "search" else None
    result = run_retrain(config, pattern, prepared=prepared, start=trained, progress=Bar())
    KeepAdapter(config, by_hand=ranks is not None)(result, pattern, prepared, output)
    for name, value in result.metrics.items():
        typer.echo(f"{name}: {value:.4f}")
    typer.echo(f"written to {output}")


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
def config(layers: Layers) -> None:
    """Print the resolved configuration as YAML.

    Example: `autolora-meta config quickstart neumann search.outer_steps=40`
    """
    from autolora_meta.config.run import RunConfig

    typer.echo(RunConfig.load(*layers).to_yaml(), nl=False)


def _placed(layers: list[str], runs: Path, overwrite: bool) -> tuple[Any, Path]:
    """Return a configuration and its folder: another than a taken one, if nobody named it."""
    from autolora_meta.config.run import RunConfig
    from autolora_meta.studies.folder import free, vacant

    config = RunConfig.load(*layers)
    folder = runs / config.name
    if not (_is_named(layers) or overwrite) and (other := free(folder)) != folder:
        typer.echo(f"{folder} is taken: this goes into {other}")
        config, folder = config.model_copy(update={"name": other.name}), other
    return config, vacant(folder, overwrite=overwrite)


def _is_named(layers: list[str]) -> bool:
    return any(layer.partition("=")[0].strip() == "name" for layer in layers)


def _file(path: Path) -> Path:
    if not path.is_file():
        raise InputError(f"there is no {path}; give a folder that `autolora-meta run` has written")
    return path


if __name__ == "__main__":
    app()
