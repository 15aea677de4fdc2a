"""Export: an adapter or its ranks in another tool's form, checked by loading it again."""

import warnings
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path

from peft import LoraConfig
from torch import Tensor
from transformers import PreTrainedModel

from autolora_meta.config.run import RunConfig
from autolora_meta.errors import InputError, unknown
from autolora_meta.exporting.base import adapted, load_base, outputs, small_input
from autolora_meta.exporting.forms import FORMS, Form
from autolora_meta.exporting.limits import SUBTRACTED, refuse_lost_bias, refuse_unfit
from autolora_meta.exporting.source import Source, find
from autolora_meta.exporting.start import Weights, write_start
from autolora_meta.exporting.stored import read_adapter
from autolora_meta.finetuning.loading import quiet_loading
from autolora_meta.finetuning.lora import quiet_peft
from autolora_meta.foundation.disk import written_by_others
from autolora_meta.foundation.places import scratch, sweep, unused, usual_permissions


def export(
    folder: str | Path,
    to: str,
    output: str | Path,
    *,
    base: str | None = None,
    trust_remote_code: bool = False,
    weights: Weights = "none",
    seed: int = 0,
    say: Callable[[str], None] = lambda text: None,
) -> Path:
    """Write an adapter, or the ranks of one, in another form, and load it again.

    Args:
        folder: of a run, or of an adapter that PEFT has saved.
        to: `peft`: the adapter's folder, with its LoraConfig as JSON; `axolotl`: the adapter's part
            of a YAML; `trainer`: a Python file for transformers' Trainer and TRL; `merged`: a model
            with the adapter in its weights; `padded`: the adapter at one rank, for engines that
            ignore rank patterns; `start`: an adapter with these ranks to train from.
        output: the file (axolotl, trainer) or folder (the others) to write; must not exist.
        base: folder or hub id of the base model, if the adapter names another place.
        trust_remote_code: run Python code that comes with the model; what the folder's own
            configuration says of it does not count.
        weights: of a start: `none`: A as PEFT draws it, B = 0; `search`: what the search trained,
            cut to the ranks.
        seed: of a start: what A is drawn from.
        say: told what was compared, and what to know about the form.

    Returns:
        `output`.

    Raises:
        InputError: there is nothing to export, `output` exists, the base cannot be loaded, or the
            adapter has a setting that the form cannot hold.
        RuntimeError: what was written gives other logits, or other ranks, than the adapter.

    Example:
        >>> export("runs/quickstart", "merged", "models/mine")  # doctest: +SKIP
    """
    if to not in FORMS:
        raise InputError(unknown("form", to, FORMS))
    form, place = FORMS[to], unused(output).absolute()
    if to != "start" and weights != "none":
        raise InputError(f"--weights {weights} is for --to start; --to {to} has its own weights")
    source = find(folder, base, trust_remote_code=trust_remote_code)
    if (source.folder / "config.yaml").is_file():  # refuses one that asks for code
        RunConfig.of_folder(source.folder, trust_remote_code=trust_remote_code)
    if source.adapter is None and form.weights:
        raise InputError(
            f"{source.folder} holds ranks and no adapter, and `{to}` needs its weights; train one "
            f"(autolora-meta retrain {source.folder} --output DIR) and export that"
        )
    if source.adapter is not None:
        refuse_unfit(source.config, source.adapter, to)
        if to == "merged" and source.config.lora_bias:
            refuse_lost_bias(load_base(source, empty=True), read_adapter(source.adapter).names)
    place.parent.mkdir(parents=True, exist_ok=True)
    sweep(place.parent, place.name)
    with (
        quiet_peft(),
        warnings.catch_warnings(action="ignore", category=UserWarning),  # on how it was trained
        quiet_loading(),
        written_by_others(place),
        scratch(place.parent, place.name) as beside,
    ):
        written = beside / place.name
        if to == "start":
            base_of = partial(load_base, source)
            say(write_start(source, written, base_of, weights=weights, seed=seed))
        elif source.adapter is None:
            form.write(source, written, None)
            form.check_ranks(source, written)
            say("read again: the same ranks and scales; there are no weights yet to compare")
        else:
            gap = _write(form, source, source.adapter, written)
            say(f"loaded again: logits of a small input differ by {gap:.1e} at most")
        usual_permissions(written)
        written.rename(place)
    if to == "padded":
        for words in _cautions(source.config):
            say(words)
    return place


def _write(form: Form, source: Source, adapter: Path, written: Path) -> float:
    """Write an adapter and return by how much the logits of what was written differ from its own.

    Raises:
        RuntimeError: they differ by more than rounding.
    """
    # Each side has a base of its own, fresh from its files: PiSSA and OLoRA change the one that
    # they are loaded on.
    base_of = partial(load_base, source)
    model = base_of()
    batch, precision = small_input(model, source.config), model.dtype.itemsize
    expected = _expected(model, adapter, batch)
    del model
    form.write(source, written, base_of)
    found = outputs(form.load(source, written, base_of), batch)
    gap = (expected - found).abs().max().item()
    # A merged weight is rounded once more, in the base's own precision.
    limit = (1e-4 if precision == 4 else 5e-2) * expected.abs().max().item()
    if not gap <= max(limit, 1e-6):
        raise RuntimeError(
            f"the export, loaded again, gives logits that differ by {gap:g} from those of "
            "the adapter; it is not kept"
        )
    return gap


def _cautions(config: LoraConfig) -> Iterator[str]:
    """Yield what to know of a padded adapter."""
    if config.init_lora_weights in SUBTRACTED:
        yield (
            f"{config.init_lora_weights} subtracts its first factors from the base, and engines do "
            "not; the adapter now holds them, at twice the rank"
        )
    trained = list(dict.fromkeys(config.modules_to_save or ()))  # PEFT names a head twice
    if config.trainable_token_indices:
        trained.append("the embeddings of some tokens")
    if trained:
        yield (
            f"the adapter comes with trained modules ({', '.join(trained)}), "
            "which engines such as vLLM refuse; for those, export --to merged"
        )


def _expected(base: PreTrainedModel, adapter: Path, batch: Mapping[str, Tensor]) -> Tensor:
    model = adapted(base, adapter)
    try:
        return outputs(model, batch)
    except (RuntimeError, ValueError, TypeError, NotImplementedError) as error:
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise InputError(
            f"stock PEFT loads {adapter} and cannot run it: {reason[0]}; there is nothing to "
            "compare an export with"
        ) from None
