"""Prepare: load the model, the task and the rows of one replicate."""

import logging
from collections.abc import Callable, Mapping

from datasets import Dataset, DatasetDict

from autolora_meta.config.compare import CompareOptions
from autolora_meta.config.run import RunConfig
from autolora_meta.finetuning.data.class_counts import counts
from autolora_meta.finetuning.prepare import Prepared, task_and_rows
from autolora_meta.finetuning.prepare import prepare as prepare_parts
from autolora_meta.finetuning.tasks import Task, refuse_lacking, refuse_unmeasured

_LOG = logging.getLogger(__name__)


def prepare(
    config: RunConfig,
    seed: int | None = None,
    *,
    data: DatasetDict | Dataset | None = None,
    task: Task | type[Task] | None = None,
    say: Callable[[str], None] = _LOG.info,
) -> Prepared:
    """Load, split and encode everything that one replicate of a run needs.

    Args:
        config: of the run.
        seed: of the replicate, for its split and its head; None: `config.seed`.
        data: rows to use in place of `config.data.source`; splits, columns and cuts follow the same
            rules.
        task: a task of your own, in place of `config.task.type`.
        say: told what was chosen, dropped and cut.

    Raises:
        InputError: data or model cannot be used as given.

    >>> prepare(RunConfig.load("quickstart")).rows["train"]  # doctest: +SKIP
    >>> mine = prepare(config, data=dataset)                 # doctest: +SKIP
    >>> result = search(config, prepared=mine)
    >>> retrain(config, result.ranks, prepared=mine)
    """
    seed = config.seed if seed is None else seed
    sections = config.model, config.data, config.task
    prepared = prepare_parts(*sections, seed, given=data, task=task, say=say)
    _refuse_unmeasured(prepared.task, config.compare)
    return prepared


def refuse_unusable(
    config: RunConfig, seed: int, say: Callable[[str], None] = _LOG.debug
) -> Mapping[str, Mapping[str, int]]:
    """Refuse data, a task or a model that no run could use, before any long work.

    This reads and splits the rows, and reads the model's configuration, not its weights.

    Args:
        config, seed: of the run.
        say: told what was chosen and dropped, and the classes.

    Returns:
        The rows of each class in each split, as `Prepared.classes`.

    Raises:
        InputError: as of `prepare`.
    """
    task, rows = task_and_rows(config.model, config.data, config.task, seed, say=say)
    _refuse_unmeasured(task, config.compare)
    refuse_lacking(task, config.compare.compared(task.compared))
    return counts(rows, task.roles)


def _refuse_unmeasured(task: Task, compare: CompareOptions) -> None:
    primary = compare.primary.metric
    refuse_unmeasured(task, compare.metrics or (), "compare.metrics")
    refuse_unmeasured(task, [primary] if primary else (), "compare.primary.metric")
