"""Check: everything that can be found wrong before a search."""

from collections.abc import Mapping
from dataclasses import dataclass

from autolora_meta.config.run import RunConfig
from autolora_meta.finetuning.buffers import running_statistics
from autolora_meta.finetuning.tasks import refuse_lacking
from autolora_meta.foundation.device import usable_device
from autolora_meta.pipeline.prepare import prepare
from autolora_meta.pipeline.program import program_of


@dataclass(frozen=True)
class Plan:
    """What a run would work on: gated layers, their costs, and what was said while loading.

    `classes` has the rows of each class in each split, or the words with each tag.
    """

    names: tuple[str, ...]
    costs: tuple[int, ...]
    said: tuple[str, ...]
    classes: Mapping[str, Mapping[str, int]]


def check(config: RunConfig, *, tested: bool = False) -> Plan:
    """Everything that can be found wrong before a search: rows, model, layers, gates, budget.

    Args:
        config: of the search or of the run.
        tested: what is retrained will be measured, so that nothing for that may be lacking.

    Raises:
        InputError: the configuration cannot work on this model and data.
    """
    said: list[str] = []
    usable_device(config.runtime.device)  # refused before anything is loaded
    prepared = prepare(config, say=said.append)
    if tested:
        refuse_lacking(prepared.task, config.compare.named)
    program = program_of(config, prepared, config.seed)
    said += program.targets().sentences()
    with program.opened() as (wrapped, gates, costs):
        if still := len(running_statistics(wrapped)):
            said.append(
                f"the running statistics of {still} layers (batch norm) stand still, in search and "
                "retraining: an adapter does not hold them"
            )
        return Plan(gates.names, costs, tuple(said), prepared.classes)
