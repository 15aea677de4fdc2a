"""The source of an export: the folder of a run, with or without adapter, or a PEFT adapter."""

from dataclasses import dataclass, replace
from pathlib import Path

from peft import LoraConfig
from typing_extensions import TypedDict

from autolora_meta.config.fingerprint import refuse_other_config
from autolora_meta.config.run import CHANGED, RunConfig
from autolora_meta.errors import InputError
from autolora_meta.exporting.stored import CONFIG, read_adapter
from autolora_meta.finetuning.lora_config import lora_config
from autolora_meta.finetuning.models import ModelOptions, local_name, public_name
from autolora_meta.foundation import manifest
from autolora_meta.foundation.json_files import read_json
from autolora_meta.ranks.pattern import RankPattern

# Of the search that the ranks follow from.
_FILES = (
    *("alphas.safetensors", "metrics.jsonl"),
    *("search/importance.safetensors", "search/search.json"),
)


_SEARCHES = ("search", "search/0/search")


class _Searched(TypedDict, total=False):
    """What an export reads of search.json."""

    task_type: str | None
    architecture: str | None
    fingerprint: str | None
    version: str


@dataclass(frozen=True)
class Source:
    """An adapter, or the ranks of one that is not trained yet.

    Args:
        folder: the folder that was given.
        adapter: the folder with its weights; None if there are ranks only.
        config: PEFT's configuration.
        pattern: the ranks.
        scales: smallest and largest alpha / r of the layers.
        base: the model that it adapts; None if nothing names it.
        name: public name of that model.
    """

    folder: Path
    adapter: Path | None
    config: LoraConfig
    pattern: RankPattern
    scales: tuple[float, float]
    base: ModelOptions | None
    name: str | None

    @property
    def trained(self) -> Path | None:
        """The file with what the run's search trained; of several pooled ones, the first."""
        found = (self.folder / below / "start.safetensors" for below in _SEARCHES)
        return next((path for path in found if path.is_file()), None)


def find(folder: str | Path, base: str | None = None, *, trust_remote_code: bool = False) -> Source:
    """Return what `folder` holds.

    Args:
        folder: of a run, or with adapter_config.json and adapter_model.safetensors.
        base: folder or hub id of the base model, if the adapter names another place.
        trust_remote_code: of the base; what the folder's own configuration says does not count.

    Raises:
        InputError: it holds neither an adapter nor the ranks of a run.
    """
    found = _found(Path(folder), base)
    if found.base is None:
        return found
    trusted = found.base.model_copy(update={"trust_remote_code": trust_remote_code})
    return replace(found, base=trusted)


def _found(folder: Path, base: str | None) -> Source:
    run = folder / "config.yaml"
    manifest.refuse_damaged(folder, CHANGED, run.name)
    of_run = RunConfig.load(run) if run.is_file() else None
    model = of_run.model if of_run else None
    for place in (folder, folder / "adapter"):
        if (place / CONFIG).is_file() or CONFIG in manifest.names(place):
            return _adapter(folder, place, model, base)
    ranked = (folder / "ranks.json").is_file() or "ranks.json" in manifest.names(folder)
    if of_run is not None and ranked:
        pattern = RankPattern.load(folder / "ranks.json")
        about = folder / "search" / "search.json"
        manifest.refuse_damaged(folder, "search again", *_FILES)
        searched = read_json(about, _Searched) if about.is_file() else {}
        refuse_other_config(folder, searched.get("fingerprint"), searched.get("version"))
        known = {key: searched.get(key) for key in ("task_type", "architecture")}
        config = lora_config(pattern, dropout=of_run.lora.dropout, **known)
        model = of_run.model
        if base is not None:
            model = model.model_copy(update={"name": base, "revision": None})
        config.base_model_name_or_path = public_name(model.name)
        scales = (pattern.scale, pattern.scale)
        return Source(folder, None, config, pattern, scales, model, public_name(model.name))
    raise InputError(
        f"{folder} holds nothing to export; give the folder of a finished run, or an adapter that "
        f"PEFT has saved (a folder with {CONFIG})"
    )


def _adapter(folder: Path, place: Path, model: ModelOptions | None, base: str | None) -> Source:
    stored = read_adapter(place)
    config, name = stored.config, stored.config.base_model_name_or_path
    if base is not None:
        model = (model or ModelOptions()).model_copy(update={"name": base, "revision": None})
    elif name is not None:
        # The path in a run's configuration is one from where it was started.
        options = model or ModelOptions(revision=config.revision)
        model = options.model_copy(update={"name": local_name(name)})
    scales = (min(stored.scales), max(stored.scales))
    return Source(
        folder, place, config, stored.pattern, scales, model, public_name(base) if base else name
    )
