"""Learn how much LoRA rank each layer of a model needs, by bilevel optimisation.

>>> from autolora_meta import RunConfig, plots, prepare, retrain, run, search  # doctest: +SKIP
>>> config = RunConfig.load("quickstart")
>>> result = search(config)
>>> plots.rank_heatmap(result)
>>> retrain(config, result.ranks).metrics
>>> prepare(config).rows["test"]       # what both started from: model, tokenizer, encoded rows
>>> search_model(model, train, validation, loss=loss)  # a model and batches of your own
>>> initialize_lora_ranks(peft_model, train, validation)  # a PEFT model, rewritten in place
>>> run(config, "runs/mine")           # the whole job: every arm in every replicate, and a report
"""

from importlib.util import find_spec
from pkgutil import resolve_name
from typing import TYPE_CHECKING, Any

from autolora_meta.foundation.version import __version__

if TYPE_CHECKING:
    from autolora_meta.config.run import RunConfig
    from autolora_meta.errors import InputError
    from autolora_meta.finetuning.tasks import Task
    from autolora_meta.interfaces.callback import RankSearchCallback
    from autolora_meta.interfaces.lora_ranks import initialize_lora_ranks
    from autolora_meta.pipeline.prepare import prepare
    from autolora_meta.pipeline.result import SearchResult
    from autolora_meta.pipeline.retrain import retrain
    from autolora_meta.pipeline.search import search
    from autolora_meta.pipeline.search_model import search_model
    from autolora_meta.ranks.pattern import RankPattern
    from autolora_meta.reporting import plots
    from autolora_meta.studies.study import Study
    from autolora_meta.studies.table import StudyTable
    from autolora_meta.workflow import run

__all__ = [
    "InputError",
    "RankPattern",
    "RankSearchCallback",
    "RunConfig",
    "SearchResult",
    "Study",
    "StudyTable",
    "Task",
    "__version__",
    "initialize_lora_ranks",
    "plots",
    "prepare",
    "retrain",
    "run",
    "search",
    "search_model",
]

# Where each public name lives. It is imported when first used, so that the command line answers at
# once: torch and transformers take seconds to import.
_HOMES = {
    "InputError": "autolora_meta.errors:InputError",
    "RankPattern": "autolora_meta.ranks.pattern:RankPattern",
    "RankSearchCallback": "autolora_meta.interfaces.callback:RankSearchCallback",
    "RunConfig": "autolora_meta.config.run:RunConfig",
    "SearchResult": "autolora_meta.pipeline.result:SearchResult",
    "Study": "autolora_meta.studies.study:Study",
    "StudyTable": "autolora_meta.studies.table:StudyTable",
    "Task": "autolora_meta.finetuning.tasks:Task",
    "initialize_lora_ranks": "autolora_meta.interfaces.lora_ranks:initialize_lora_ranks",
    "plots": "autolora_meta.reporting.plots:",
    "prepare": "autolora_meta.pipeline.prepare:prepare",
    "retrain": "autolora_meta.pipeline.retrain:retrain",
    "run": "autolora_meta.workflow:run",
    "search": "autolora_meta.pipeline.search:search",
    "search_model": "autolora_meta.pipeline.search_model:search_model",
}

if find_spec("betty") is None:
    raise ImportError(
        "autolora_meta needs betty-ml, which pip refuses on Python 3.11 and newer unless it comes "
        'first: pip install --no-deps --ignore-requires-python "betty-ml>=0.2.1,<0.3" '
        "and then (of a checkout: pip install -e .) pip install autolora-meta"
    )


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = resolve_name(_HOMES[name])
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
