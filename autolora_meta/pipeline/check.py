"""Check: find what is wrong before a search begins."""

from collections.abc import Mapping
from dataclasses import dataclass

from autolora_meta.bilevel.formulation import formulation
from autolora_meta.config.run import RunConfig
from autolora_meta.finetuning.buffers import running_statistics
from autolora_meta.finetuning.tasks import refuse_lacking
from autolora_meta.foundation.device import usable_device
from autolora_meta.pipeline.memory import naming_what_to_lower
from autolora_meta.pipeline.prepare import prepare
from autolora_meta.pipeline.program import program_of


@dataclass(frozen=True)
class Plan:
    """What a run will work on.

    Args:
        names: the gated layers. (L,)
        costs: parameters of one rank in each layer. (L,)
        said: sentences about data, model and layers.
        classes: split -> class -> number of rows (of words, for tags).
    """

    names: tuple[str, ...]
    costs: tuple[int, ...]
    said: tuple[str, ...]
    classes: Mapping[str, Mapping[str, int]]

    def sentences(self, config: RunConfig) -> str:
        """Return what is about to happen: the rows, the layers, the budget, the work."""
        ranks, search = config.ranks, config.search
        chosen = f"budget {ranks.budget}" if ranks.rule == "budget" else f"rule {ranks.rule}"
        work = (
            f"{len(self.names)} layers of k = {config.lora.k} components, {sum(self.costs):,} "
            f"parameters per rank, {chosen}; "
            f"hypergradient {search.hypergradient.method}, {search.schedule}"
        )
        return "\n".join([*self.said, work])


def check(config: RunConfig, *, tested: bool = False) -> Plan:
    """Check rows, model, layers, gates and budget before a search.

    Args:
        config: of the search or of the run.
        tested: check also that this machine has what the compared metrics need.

    Raises:
        InputError: the configuration cannot work on this model and data.
    """
    said: list[str] = []
    # Refused before anything is loaded.
    usable_device(config.runtime.device)
    formulation(config.search.problem).refuse(config.search, "ranks")
    with naming_what_to_lower(config, "search"):
        prepared = prepare(config, say=said.append)
        if tested:
            refuse_lacking(prepared.task, config.compare.compared(prepared.task.compared))
        program = program_of(config.before_choice, prepared, config.seed)
        said += program.targets().sentences()
        with program.opened() as (wrapped, gates, costs):
            if still := len(running_statistics(wrapped)):
                said.append(
                    f"the running statistics of {still} layers (batch norm) stand still, in "
                    "search and retraining: an adapter does not hold them"
                )
            return Plan(gates.names, costs, tuple(said), prepared.classes)
