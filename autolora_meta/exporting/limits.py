"""What a form of an export cannot hold, found in the adapter's files before a base is loaded."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from peft import LoraConfig
from safetensors import safe_open
from torch import nn

from autolora_meta.errors import InputError
from autolora_meta.exporting.stored import FACTORS, WEIGHTS

# Initialisations that take c B0 A0 out of the base's weights, and find the same A0 and B0 again in
# a fresh base: PEFT does so whenever it loads such an adapter, and other engines never do.
SUBTRACTED = ("pissa", "olora")


def refuse_unfit(config: LoraConfig, folder: Path, to: str) -> None:
    """Refuse an adapter that the form `to` would change.

    Args:
        config: of the adapter.
        folder: holds its weights.
        to: name of the form.

    Raises:
        InputError: the message names the setting, and a form that can hold it.
    """
    told = {"peft": (_random,), "merged": (_random, _routed, _merged)}
    told["padded"] = (_random, _routed, _padded)
    if reasons := [reason for tell in told.get(to, ()) for reason in tell(config, folder)]:
        raise InputError(f"--to {to} cannot hold this adapter: " + "; ".join(reasons))


def refuse_lost_bias(base: nn.Module, names: Sequence[str]) -> None:
    """Refuse to merge an adapter with biases (lora_bias) into layers that have none.

    Args:
        base: of the adapter; its weights are not read.
        names: full names of the layers that have factors.

    Raises:
        InputError: the message names such a layer, and a form that can hold the adapter.
    """
    layers = dict(base.named_modules())
    bare = [n for n in names if n in layers and getattr(layers[n], "bias", None) is None]
    if bare:
        raise InputError(
            f"--to merged cannot hold this adapter: lora_bias adds a bias to '{bare[0]}' "
            f"({len(bare)} such layers), which has none to merge it into; export it with --to "
            "peft or --to padded"
        )


def _random(config: LoraConfig, _: Path) -> Iterator[str]:
    start = str(config.init_lora_weights)
    if start.startswith("pissa_niter"):
        yield (
            f"init_lora_weights '{start}' subtracts a random part from the base at each load, so "
            "its logits differ each time; save it after training with PEFT's "
            "path_initial_model_for_weight_conversion"
        )


def _routed(config: LoraConfig, _: Path) -> Iterator[str]:
    if config.arrow_config:
        yield "arrow_config mixes several adapters by their input; export each of them"
    if config.use_qalora:
        yield "use_qalora pools the inputs of quantised layers; serve the adapter with PEFT"


def _merged(config: LoraConfig, _: Path) -> Iterator[str]:
    if config.layer_replication:
        yield (
            "layer_replication gives several layers one weight, and each its own update of it; "
            "serve the adapter with PEFT"
        )
    if config.alora_invocation_tokens:
        yield (
            "alora_invocation_tokens switch it on in the middle of a text, which a merged weight "
            "cannot; serve the adapter with PEFT"
        )


def _padded(config: LoraConfig, folder: Path) -> Iterator[str]:
    if config.use_dora:
        yield (
            "a DoRA adapter scales the norm of the whole weight, which padding would not keep; "
            "export it with --to merged"
        )
    if config.target_parameters:
        yield (
            f"target_parameters ({', '.join(sorted(config.target_parameters))}) have one pair of "
            "factors for all experts together; export it with --to merged"
        )
    if config.init_lora_weights == "loftq":
        yield "LoftQ quantises the base when the adapter is loaded; export it with --to merged"
    plain = (*(end for pair in FACTORS for end in pair), ".lora_B.bias")
    with safe_open(folder / WEIGHTS, framework="pt") as file:
        others = [key for key in file.keys() if ".lora_" in key and not key.endswith(plain)]  # noqa: SIM118
    if others and not config.use_dora:
        yield (
            f"it holds more than the factors A and B ({others[0]}), which padding would not keep; "
            "export it with --to merged"
        )
