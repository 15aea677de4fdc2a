"""`autolora-meta retrain`: an adapter with the ranks of a run, or with others."""

from pathlib import Path
from typing import Annotated

import typer

from autolora_meta.cli.arguments import Restart, Run, Trust, existing
from autolora_meta.errors import InputError


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
    trust_remote_code: Trust = False,
    restart: Restart = False,
) -> None:
    """Retrain a PEFT adapter with the ranks of a run, or with others.

    The same command goes on with a retraining that was stopped, from its last checkpoint
    (`runtime.checkpoint_minutes` of the run), which stands beside the output until it has ended.

    Example: `autolora-meta retrain runs/quickstart --ranks wide.json --output adapters/wide`
    """
    from autolora_meta.config.run import RunConfig
    from autolora_meta.foundation import manifest
    from autolora_meta.foundation.checkpoints import Checkpoints, saying_how_to_go_on
    from autolora_meta.foundation.places import unused
    from autolora_meta.foundation.progress import Bar
    from autolora_meta.pipeline.divided import refuse_undivided
    from autolora_meta.pipeline.prepare import prepare
    from autolora_meta.pipeline.result import SearchResult
    from autolora_meta.pipeline.retrain import retrain as run_retrain
    from autolora_meta.ranks.pattern import RankPattern
    from autolora_meta.reporting.keep_adapter import KeepAdapter

    unused(output)
    config = RunConfig.of_folder(
        run,
        {"retrain": {"start": start}} if start else {},
        {"model": {"name": base, "revision": None}} if base else {},
        trust_remote_code=trust_remote_code,
    )
    refuse_undivided([config], ["retrain"])
    pattern = RankPattern.load(existing(ranks or run / "ranks.json"))
    starts = config.retrain.start == "search"
    beside = (run / "search").is_dir()  # of a run of a study it stands further below
    searched = SearchResult.load(run) if beside or starts else None
    own = ranks is None and beside and manifest.names(run)
    if own and searched and searched.ranks != pattern:
        raise InputError(
            f"{run / 'ranks.json'} holds other ranks than follow from the search beside it; write "
            f"them again (autolora-meta allocate {run} --output FILE), and give a file of ranks "
            "with --ranks"
        )
    prepared = prepare(config)
    trained = searched.start if searched and starts else None
    kept = Checkpoints(output.with_name(f"{output.name}-checkpoints"), config.runtime.checkpoints)
    if restart:
        kept.clear()
    with saying_how_to_go_on(kept, typer.echo):
        result = run_retrain(
            config,
            pattern,
            prepared=prepared,
            start=trained,
            progress=Bar(),
            checkpoints=kept.folder,
            say=typer.echo,
        )
    KeepAdapter(config, by_hand=ranks is not None)(result, pattern, prepared, output)
    kept.clear()
    for name, value in result.metrics.items():
        typer.echo(f"{name}: {value:.4f}")
    typer.echo(f"written to {output}")
