"""What a process loads that takes the steps of another one's search or retraining beside it."""

from pathlib import Path

from autolora_meta.config.run import RunConfig
from autolora_meta.finetuning.prepare import Prepared
from autolora_meta.pipeline.prepare import prepare

NOWHERE = Path("no-checkpoints-here")  # the first process has them
_last: dict[str, Prepared] = {}


def prepared_beside(config: RunConfig, seed: int) -> Prepared:
    """Return model and rows of a replicate, as the first process has them; the last are kept."""
    about = config.model_dump_json(include={"model", "data", "task", "compare"})
    key = f"{seed} {about}"
    if key not in _last:
        _last.clear()  # before others are loaded
        _last[key] = prepare(config, seed)
    return _last[key]
