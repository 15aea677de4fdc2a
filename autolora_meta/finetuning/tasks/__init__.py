"""Tasks: head, encoding of rows, loss and metrics of each."""

from collections.abc import Sequence

from autolora_meta.errors import InputError, unknown
from autolora_meta.finetuning.tasks.base import Processor, Say, Task
from autolora_meta.finetuning.tasks.causal_lm import CausalLM
from autolora_meta.finetuning.tasks.generation import Generation
from autolora_meta.finetuning.tasks.image_classification import ImageClassification
from autolora_meta.finetuning.tasks.metrics import METRICS, Metric
from autolora_meta.finetuning.tasks.options import GenerationOptions, TaskOptions
from autolora_meta.finetuning.tasks.regression import Regression
from autolora_meta.finetuning.tasks.sequence_classification import SequenceClassification
from autolora_meta.finetuning.tasks.synonyms import unknown_task
from autolora_meta.finetuning.tasks.token_classification import TokenClassification
from autolora_meta.foundation import plugins

__all__ = [
    "TASKS",
    "GenerationOptions",
    "Processor",
    "Say",
    "Task",
    "TaskOptions",
    "metric_called",
    "refuse_lacking",
    "refuse_unmeasured",
    "task_class",
    "task_names",
    "unknown_task",
]

TASKS: dict[str, type[Task]] = {
    "sequence-classification": SequenceClassification,
    "regression": Regression,
    "token-classification": TokenClassification,
    "causal-lm": CausalLM,
    "generation": Generation,
    "image-classification": ImageClassification,
}


def task_names() -> list[str]:
    """Return the names that `task.type` takes: ours, and those that packages register."""
    return sorted({*TASKS, *plugins.names(plugins.TASKS)})


def task_class(name: str) -> type[Task]:
    """Return the task called `name`: one of ours, or one that a package registers.

    Raises:
        InputError: there is none, or what is registered is not a task.
    """
    if name in TASKS:
        return TASKS[name]
    if name not in task_names():
        raise InputError(unknown_task(name, task_names()))
    found = plugins.load(plugins.TASKS, name)
    if not (isinstance(found, type) and issubclass(found, Task)):
        raise InputError(
            f"task.type '{name}' is registered in {plugins.TASKS} as {found!r}; a task is a "
            "subclass of autolora_meta.Task"
        )
    return found


def metric_called(name: str) -> Metric:
    """Return the metric called `name`: one of ours, or of a task that a package registers.

    Raises:
        InputError: no task measures it.
    """
    if name in METRICS:
        return METRICS[name]
    others: dict[str, Metric] = {}
    for task in plugins.names(plugins.TASKS):
        others |= task_class(task).measures
    if name not in others:
        raise InputError(unknown("metric", name, {*METRICS, *others}))
    return others[name]


def refuse_unmeasured(task: Task, metrics: Sequence[str], place: str = "compare.metrics") -> None:
    """Refuse metrics that the task does not measure on its rows, before any work is done.

    Args:
        task: built for its rows.
        metrics: their names.
        place: the setting that names them.

    Raises:
        InputError: there is one; metrics that only this machine lacks are for `refuse_lacking`.
    """
    absent = [name for name in metrics if name not in {*task.measured, *task.lacking}]
    if absent:
        raise InputError(
            f"{place} names {', '.join(absent)}, which is not measured on these rows; "
            f"measured: {', '.join(task.measured)}"
        )


def refuse_lacking(task: Task, metrics: Sequence[str]) -> None:
    """Refuse metrics that need what this machine lacks, before work that ends with them.

    A search does not measure them.

    Raises:
        InputError: there is one; the message says what to install.
    """
    absent = [name for name in metrics if name in task.lacking]
    if absent:
        raise InputError(
            f"{', '.join(absent)} cannot be compared: {task.lacking[absent[0]]}; without it, "
            f"compare.metrics allows {', '.join(task.measured)}"
        )
