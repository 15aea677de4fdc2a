"""Epochs as steps, once it is known how many rows there are."""

from autolora_meta.config.run import RunConfig
from autolora_meta.finetuning.prepare import Prepared, task_and_rows


def in_steps(config: RunConfig, prepared: Prepared | None = None) -> RunConfig:
    """Return a configuration whose `search.epochs` and `retrain.epochs` have become steps.

    Rows are read only where one of the two is set. All replicates have as many.

    Args:
        config: of a run.
        prepared: rows, if already loaded.

    Raises:
        InputError: the rows cannot be read, or the warm-up takes all epochs of the search.
    """
    if config.search.epochs is None and config.retrain.epochs is None:
        return config
    if prepared is not None:
        rows = prepared.rows
    else:
        rows = task_and_rows(config.model, config.data, config.task, config.seed)[1]
    train, validation = len(rows["train"]), len(rows["validation"])
    sections = {
        "search": config.search.in_steps(train),
        "retrain": config.retrain.in_steps(train + validation),
    }
    return config.model_copy(update=sections)
