"""`autolora-meta weigh`: weights of training rows, and what retraining by them is worth."""

from pathlib import Path
from typing import Annotated

import typer

from autolora_meta.cli.arguments import Overlays, Overwrite, is_named


def weigh(
    overlays: Overlays,
    runs: Annotated[
        Path, typer.Option(help="The folder that the folder of this run goes into.")
    ] = Path("runs"),
    overwrite: Overwrite = False,
    control: Annotated[
        list[str] | None,
        typer.Option(
            help="What to compare with; may be repeated. uniform, clean, early, smoothed, eva, "
            "scored, shuffled. Default: all.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Learn which training rows to trust, retrain by it, and compare with what else helps.

    Validation rows have to be clean. Each replicate scores training rows by an adapter of the clean
    rows, learns a weight for each from there (`search.problem=reweighting`), trains an adapter at
    uniform ranks by the weights, and one for each control: all rows alike, validation rows alone,
    early stopping, label smoothing, EVA's ranks, the scores without a search, and the learned
    weights dealt to other rows. With `data.flip_labels` it also says how
    well low weights tell the wrong labels.

    The folder holds weights/SEED.json, whose entry i is the weight of training row i, what each arm
    measured, and the adapter that the first replicate trained by its weights. The same command goes
    on after the replicates that are done.

    Example: `autolora-meta weigh reweighting compare.replicates=5`
    """
    from autolora_meta.config.run import RunConfig
    from autolora_meta.foundation.json_files import begin_rows
    from autolora_meta.foundation.progress import Bar
    from autolora_meta.reporting.keep_adapter import KeepAdapter
    from autolora_meta.reporting.weighed import weighed_words
    from autolora_meta.studies.folder import claimed, fill, stopped_search
    from autolora_meta.studies.weighing import arms_named, check_weighing
    from autolora_meta.studies.weighing import weigh as weigh_all

    config = RunConfig.load(*overlays)
    arms = arms_named(control)
    check_weighing(config)
    wanted, numbered = runs / config.name, not (is_named(overlays) or overwrite)
    with claimed(wanted, overwrite=overwrite, numbered=numbered, search=config) as folder:
        if folder != wanted:
            typer.echo(f"{wanted} is taken: this goes into {folder}")
            config = config.model_copy(update={"name": folder.name})
        if overwrite or not stopped_search(folder, config):
            fill(folder, config)
        found = weigh_all(
            config,
            folder,
            arms=arms,
            progress=Bar,
            observe=begin_rows(folder / "metrics.jsonl"),
            keep=KeepAdapter(config, by_hand=True),
            say=typer.echo,
        )
        words = weighed_words(found)
        (folder / "summary.md").write_text(words + "\n", encoding="utf-8")
    typer.echo(f"\n{words}\n\nwritten to {folder}")
