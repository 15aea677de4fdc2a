"""RunConfig: everything that a run depends on, made of the options of each wing.

A configuration is made of overlays, applied left to right (`autolora_meta.config.overlay`).
"""

from pathlib import Path

from pydantic import Field, field_validator, model_validator

from autolora_meta.bilevel.base import refuse_on_bits
from autolora_meta.bilevel.options import SearchOptions
from autolora_meta.config.compare import CompareOptions
from autolora_meta.config.overlay import Overlay, merged
from autolora_meta.config.runtime import RuntimeOptions
from autolora_meta.errors import InputError, unknown
from autolora_meta.finetuning.data import DataOptions
from autolora_meta.finetuning.lora import LoraOptions
from autolora_meta.finetuning.models import ModelOptions
from autolora_meta.finetuning.retrain import RetrainOptions
from autolora_meta.finetuning.tasks import (
    TaskOptions,
    task_class,
    task_names,
    unknown_task,
)
from autolora_meta.foundation import manifest, plugins
from autolora_meta.foundation.device import resolved_precision
from autolora_meta.foundation.options import FolderName, Options, read
from autolora_meta.foundation.yaml_text import yaml_of
from autolora_meta.ranks.budget import Budget
from autolora_meta.ranks.options import RankOptions, bounds

# What to do about a config.yaml that is not what the run wrote.
CHANGED = (
    "put back what stood there or, if you changed it yourself, remove "
    f"{manifest.FILE}: the folder is then read as it is"
)


class RunConfig(Options):
    """The whole configuration of a run.

    >>> config = RunConfig.load("quickstart", "cg", "compare.replicates=3")
    >>> config.search.hypergradient.method
    'cg'
    """

    name: FolderName = Field(description="Name of the run's folder below `runs/`.")
    seed: int = Field(
        default=0, ge=0, description="Seed of the first replicate; replicate r uses seed + r."
    )
    model: ModelOptions = Field(description="The pretrained model.")
    data: DataOptions = Field(description="The rows, and how they are split.")
    task: TaskOptions = Field(default_factory=TaskOptions, description="The task to learn.")
    lora: LoraOptions = Field(
        default_factory=LoraOptions, description="The adapters of the search and their layers."
    )
    search: SearchOptions = Field(
        default_factory=SearchOptions, description="The bilevel search of the gates."
    )
    ranks: RankOptions = Field(
        default_factory=RankOptions, description="How ranks are read from a search."
    )
    retrain: RetrainOptions = Field(
        default_factory=RetrainOptions, description="Training of the adapter at its ranks."
    )
    compare: CompareOptions = Field(
        default_factory=CompareOptions, description="Arms, metrics and replicates."
    )
    runtime: RuntimeOptions = Field(
        default_factory=RuntimeOptions, description="Device, processes, threads and trackers."
    )

    @field_validator("search")
    @classmethod
    def _known_problem(cls, value: SearchOptions) -> SearchOptions:
        allowed = plugins.names(plugins.PROBLEMS)
        if value.problem not in allowed:
            raise ValueError(unknown("problem", value.problem, allowed))
        return value

    @field_validator("task")
    @classmethod
    def _known_task(cls, value: TaskOptions) -> TaskOptions:
        if value.type not in task_names():
            raise ValueError(unknown_task(value.type, task_names()))
        return value

    @model_validator(mode="after")
    def _metrics_of_the_task(self) -> "RunConfig":
        measures = task_class(self.task.type).measures
        absent = [metric for metric in self.compare.named if metric not in measures]
        if absent:
            place = "compare.metrics" if self.compare.metrics else "compare.primary.metric"
            raise ValueError(
                f"{place} names {', '.join(absent)}, which task.type '{self.task.type}' "
                f"does not measure; measured: {', '.join(measures)}"
            )
        return self

    @model_validator(mode="after")
    def _chosen_is_compared(self) -> "RunConfig":
        arm, arms = self.ranks.arm, self.compare.arms
        if arm not in arms and self.ranks.choose == "search":
            raise ValueError(
                f"compare.arms are [{', '.join(arms)}], and `{arm}` is not among them; a run "
                "leaves its ranks and its adapter behind: add it, or give ranks.choose=race"
            )
        if arm not in arms:
            compare = self.compare.model_copy(update={"arms": (arm, *arms)})
            object.__setattr__(self, "compare", compare)
        return self

    @model_validator(mode="after")
    def _fitting_together(self) -> "RunConfig":
        bounds(self.lora.k, self.ranks)
        refuse_on_bits(self.search.hypergradient, self.model.quantization)
        return self

    @model_validator(mode="after")
    def _one_budget_for_patterns(self) -> "RunConfig":
        if self.compare.headroom and self.ranks.rule != "budget":
            raise ValueError(
                f"compare.headroom is {self.compare.headroom}, and ranks.rule '{self.ranks.rule}' "
                "gives every replicate a budget of its own, so that a pattern would not be the "
                "same in all of them; give ranks.rule=budget, or compare.headroom=0"
            )
        return self

    @model_validator(mode="after")
    def _budget_known_to_patience(self) -> "RunConfig":
        if self.ranks.to_choose and self.search.patience is not None:
            raise ValueError(
                "ranks.budget is auto, which is chosen after the search, and search.patience "
                f"{self.search.patience} ends a search by its ranks at the budget; set "
                "search.patience to null, or give a budget"
            )
        return self

    @model_validator(mode="after")
    def _precision_of_this_machine(self) -> "RunConfig":
        """Put what `auto` is here in its place: results and their hashes depend on it."""
        for name in ("search", "retrain"):
            section = getattr(self, name)
            if section.precision == "auto":
                try:
                    found = resolved_precision("auto", self.runtime.resolved_device)
                except InputError as error:
                    raise ValueError(
                        f"{name}.precision is auto, which asks the device of this machine, and "
                        f"{error}; or give {name}.precision as bf16 or float32"
                    ) from None
                object.__setattr__(self, name, section.model_copy(update={"precision": found}))
        return self

    @property
    def search_as_read(self) -> SearchOptions:
        """The section `search`, with what `search.gates.per: auto` is under `ranks`."""
        return self.search.read_by(self.ranks.read_plain)

    def at_budget(self, budget: Budget) -> "RunConfig":
        """Return the same run at another budget."""
        ranks = self.ranks.model_copy(update={"budget": budget})
        return self.model_copy(update={"ranks": ranks})

    @property
    def before_choice(self) -> "RunConfig":
        """The same run with some possible budget in the place of one that is still to be chosen.

        What does not depend on the budget, such as a search, runs by it.
        """
        some = Budget(f"uniform:{max(1, self.ranks.min_rank)}")
        return self.at_budget(some) if self.ranks.to_choose else self

    @property
    def learned_work(self) -> float:
        """The most that learning the ranks costs, retraining aside, in plain steps."""
        plain = self.search.total_work("plain") if self.ranks.read_plain else 0.0
        return self.search.total_work("learned") + plain

    @classmethod
    def of_folder(
        cls, folder: Path, *overlays: Overlay, trust_remote_code: bool = False
    ) -> "RunConfig":
        """Read the configuration of a finished run, which is data: it cannot consent to run code.

        Args:
            folder: of a run or a search.
            overlays: laid over it.
            trust_remote_code: consent to run code that comes with the model.

        Raises:
            InputError: there is no config.yaml, it is not the one of the run, or it asks for such
                code and consent is not given.
        """
        file = folder / "config.yaml"
        if not file.is_file():
            raise InputError(
                f"there is no {file}; give a folder that `autolora-meta run` has written"
            )
        manifest.refuse_damaged(folder, CHANGED, file.name)
        config = cls.load(file, *overlays)
        if config.model.trust_remote_code and not trust_remote_code:
            raise InputError(
                f"{file} asks to run Python code that comes with the model {config.model.name} "
                "(model.trust_remote_code), and a folder is not believed in that; add "
                "--trust-remote-code (trust_remote_code=True in Python) if you trust its authors"
            )
        model = config.model.model_copy(update={"trust_remote_code": trust_remote_code})
        return config.model_copy(update={"model": model})

    @classmethod
    def load(cls, *overlays: Overlay) -> "RunConfig":
        """Load a configuration from overlays, applied left to right.

        Args:
            overlays: names of shipped configs, paths of YAML files, `key=value` strings, mappings.

        Raises:
            InputError: with every mistake at once: the place, the value, what is allowed.
        """
        return read(cls, merged(cls, overlays), "the configuration")

    def to_yaml(self) -> str:
        """Return the resolved configuration as YAML; loading it gives an equal one."""
        return yaml_of(self.model_dump(mode="json"))
