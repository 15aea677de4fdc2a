"""Start: what a search trained, cut to any ranks, as the start of a retraining."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from autolora_meta.errors import InputError
from autolora_meta.foundation.places import replace_bytes
from autolora_meta.foundation.reading import refuse_special
from autolora_meta.ranks.directions import Factors, singular_directions


@dataclass(frozen=True)
class Start:
    """The update that a search trained in each layer, and its head.

    Updates are held in balanced singular form,

        B diag(gates) A = sum_j (sqrt(s_j) p_j) (sqrt(s_j) q_j)^T,    s descending,

    whose first r terms are the nearest update of rank r (Eckart and Young, 1936).

    Args:
        left: layer -> its columns sqrt(s_j) p_j. (out, k)
        right: layer -> its rows sqrt(s_j) q_j. (k, in), for a convolution (k, in * height * width)
        head: name in the PeftModel -> value, for parameters trained in full, without buffers.
        scale: the constant c of the search.
        seed: of the search, and so of its split of the rows.
    """

    left: Mapping[str, Tensor]
    right: Mapping[str, Tensor]
    head: Mapping[str, Tensor]
    scale: float
    seed: int

    @classmethod
    def of(
        cls,
        names: Sequence[str],
        gates: Tensor,
        factors: Sequence[Factors],
        head: Mapping[str, Tensor],
        *,
        scale: float,
        seed: int,
    ) -> "Start":
        """Build a start from the factors at the end of a search.

        Args:
            names: (L,)
            gates: (L, k)
            factors: (A, B) of each layer: A (k, in) or (k, in, kh, kw), B (out, k) or
                (out, k, 1, 1).
            head: parameter -> value.
            scale: the constant c.
            seed: of the search.
        """
        left, right = {}, {}
        for name, gate, (a, b) in zip(names, gates, factors, strict=True):
            a, b = (t.detach().to("cpu", torch.float64).flatten(1) for t in (a, b))
            p, s, q = singular_directions(gate.detach().to("cpu", torch.float64), a, b)
            root = s.sqrt()
            left[name] = (p * root).float().contiguous()  # (out, k)
            right[name] = (q * root).mT.float().contiguous()  # (k, in)
        kept = {n: value.detach().to("cpu", copy=True).contiguous() for n, value in head.items()}
        return cls(left, right, kept, scale, seed)

    @torch.no_grad()
    def put_into(self, model: PeftModel) -> None:
        """Set the factors of every layer with rank r to the first r terms, and the head.

        >>> model = get_peft_model(base, result.lora_config())  # doctest: +SKIP
        >>> result.start.put_into(model)

        Args:
            model: has LoRA, named "default", on some of the layers, at the scale of the search.

        Raises:
            InputError: a layer or a part of the head has another shape or scale, or was not
                searched.
        """
        parameters = dict(model.named_parameters())
        for name, layer in model.get_base_model().named_modules():
            if "default" not in getattr(layer, "lora_A", {}):
                continue
            lora: Any = layer
            a, b = lora.lora_A["default"].weight, lora.lora_B["default"].weight
            rank = a.shape[0]
            if name not in self.left or rank > self.right[name].shape[0]:
                raise InputError(
                    f"the search trained no update of rank {rank} in {name}, to start from; "
                    "retrain at ranks that it found, or with retrain.start=scratch"
                )
            if not math.isclose(lora.scaling["default"], self.scale):
                raise InputError(
                    f"the search trained {name} at scale {self.scale:g}, and this model has it at "
                    f"{lora.scaling['default']:g}; give alpha = {self.scale:g} times the rank"
                )
            _set(a, self.right[name][:rank], name)
            _set(b, self.left[name][:, :rank], name)
        for name, value in self.head.items():
            if name not in parameters:
                raise InputError(f"the search trained {name}, which this model does not have")
            _set(parameters[name], value, name, exact=True)

    def save(self, path: str | Path) -> None:
        """Write it as safetensors."""
        parts = {"left": self.left, "right": self.right, "head": self.head}
        tensors = {f"{p}.{n}": t for p, part in parts.items() for n, t in part.items()}
        # One entry: safetensors writes several in any order, and equal starts are equal bytes.
        about = json.dumps({"scale": self.scale, "seed": self.seed})
        replace_bytes(Path(path), save(tensors, metadata={"about": about}))

    @classmethod
    def load(cls, path: str | Path) -> "Start":
        """Read what `save` wrote.

        Raises:
            InputError: there is no such file, or it does not hold a start.
        """
        parts: dict[str, dict[str, Tensor]] = {"left": {}, "right": {}, "head": {}}
        try:
            refuse_special(Path(path))
            with safe_open(path, framework="pt") as file:
                about = json.loads(file.metadata()["about"])
                for key in file.keys():  # noqa: SIM118, it is no mapping
                    part, _, name = key.partition(".")
                    parts[part][name] = file.get_tensor(key)
            return cls(**parts, scale=about["scale"], seed=about["seed"])
        except (OSError, KeyError, TypeError, ValueError, SafetensorError) as error:
            raise InputError(
                f"{path} is not what a search trained ({type(error).__name__}: {error}); search "
                "again, or retrain with retrain.start=scratch"
            ) from None


def _set(parameter: Tensor, value: Tensor, name: str, *, exact: bool = False) -> None:
    alike = parameter.shape if exact else parameter.flatten(1).shape  # a factor of a convolution
    if alike != value.shape:
        raise InputError(
            f"the search trained {name} with shape {tuple(value.shape)}, and this model has "
            f"{tuple(parameter.shape)} there; give the model that was searched"
        )
    parameter.copy_(value.reshape(parameter.shape))
