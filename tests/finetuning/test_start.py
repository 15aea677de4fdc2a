"""What a search trained, cut to any ranks: held against the SVD, and against PEFT's own forward."""

from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from autolora_meta.bilevel.gating import lora_layers
from autolora_meta.errors import InputError
from autolora_meta.finetuning.lora import quiet_peft
from autolora_meta.finetuning.start import Start

K = 3


class Three(nn.Module):
    """A layer of each kind that a search adapts, and a head."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 4, 3)
        self.linear = nn.Linear(16, 6)
        self.conv1d = Conv1D(5, 6)
        self.head = nn.Linear(5, 2)

    def forward(self, x: Tensor) -> Tensor:  # (B, 2, 4, 4) -> (B, 2)
        return self.head(self.conv1d(torch.tanh(self.linear(self.conv(x).flatten(1)))))


NAMES = ("conv", "linear", "conv1d")


def wrapped(seed: int, ranks: dict[str, int]) -> PeftModel:
    """The same base each time; factors by `seed`, B too."""
    torch.manual_seed(0)
    base = Three()
    torch.manual_seed(seed)
    config = LoraConfig(
        r=K,
        lora_alpha=2 * K,
        target_modules=list(ranks),
        rank_pattern=ranks,
        alpha_pattern={name: 2 * rank for name, rank in ranks.items()},
        modules_to_save=["head"],
    )
    with quiet_peft():
        model = get_peft_model(base, config)  # pyright: ignore[reportArgumentType]
    assert isinstance(model, PeftModel)
    for parameter in model.parameters():
        if parameter.requires_grad:
            nn.init.normal_(parameter, std=0.3)
    return model.eval()


@pytest.fixture
def searched() -> PeftModel:
    return wrapped(1, dict.fromkeys(NAMES, K))


@pytest.fixture
def gates() -> Tensor:
    return torch.tensor([[1.0, 0.2, -0.5], [2.0, 1.0, 0.0], [0.3, 0.6, 0.9]])


@pytest.fixture
def start(searched: PeftModel, gates: Tensor) -> Start:
    layers: list[Any] = lora_layers(searched, NAMES)
    factors = [(x.lora_A["default"].weight, x.lora_B["default"].weight) for x in layers]
    head = {n: p for n, p in searched.named_parameters() if "head.modules_to_save" in n}
    return Start.of(NAMES, gates, factors, head, scale=2.0, seed=0)


def updates(model: PeftModel) -> dict[str, Tensor]:
    """What the adapter adds to each weight, by PEFT. (out, in)"""
    names = [
        name for name in NAMES if hasattr(model.get_base_model().get_submodule(name), "lora_A")
    ]
    layers: list[Any] = lora_layers(model, names)
    found = {}
    for name, layer in zip(names, layers, strict=True):
        delta = layer.get_delta_weight("default").detach()
        found[name] = delta.T if name == "conv1d" else delta.flatten(1)
    return found


def test_at_full_rank_the_model_is_the_one_that_was_searched(
    searched: PeftModel, gates: Tensor, start: Start
) -> None:
    layers: list[Any] = lora_layers(searched, NAMES)
    for layer, gate in zip(layers, gates, strict=True):
        b = layer.lora_B["default"].weight
        b.data.mul_(gate.view(1, K, *[1] * (b.ndim - 2)))  # the gate as a weight on its column
    model = wrapped(2, dict.fromkeys(NAMES, K))
    x = torch.randn(4, 2, 4, 4)
    assert not torch.allclose(model(x), searched(x), atol=1e-3)
    start.put_into(model)
    torch.testing.assert_close(model(x), searched(x), atol=1e-5, rtol=1e-4)


def test_lower_ranks_are_the_nearest_updates(
    searched: PeftModel, gates: Tensor, start: Start
) -> None:
    model = wrapped(2, {"conv": 1, "linear": 2})
    start.put_into(model)
    layers = zip(lora_layers(searched, NAMES), gates.double(), strict=True)
    for (name, rank), (layer, gate) in zip({"conv": 1, "linear": 2}.items(), layers, strict=False):
        a, b = (
            getattr(layer, f)["default"].weight.double().flatten(1) for f in ("lora_A", "lora_B")
        )
        u, s, v = torch.linalg.svd(2 * b @ gate.diag() @ a)
        nearest = u[:, :rank] @ s[:rank].diag() @ v[:rank]
        torch.testing.assert_close(updates(model)[name].double(), nearest, atol=1e-6, rtol=1e-4)


def test_both_factors_of_a_term_are_as_long(start: Start) -> None:
    for name in NAMES:
        left, right = start.left[name].norm(dim=0), start.right[name].norm(dim=1)
        torch.testing.assert_close(left, right)
        assert (left.diff() <= 0).all()


def test_what_is_saved_is_loaded_again(start: Start, tmp_path: Path) -> None:
    start.save(tmp_path / "start.safetensors")
    again = Start.load(tmp_path / "start.safetensors")
    one, other = wrapped(2, {"linear": 2}), wrapped(3, {"linear": 2})
    start.put_into(one)
    again.put_into(other)
    x = torch.randn(4, 2, 4, 4)
    assert torch.equal(one(x), other(x))
    with pytest.raises(InputError, match="not what a search trained"):
        Start.load(tmp_path / "absent.safetensors")


def test_what_was_not_searched_is_refused(start: Start) -> None:
    with pytest.raises(InputError, match="no update of rank 1 in head"):
        torch.manual_seed(0)
        model = get_peft_model(Three(), LoraConfig(r=1, target_modules=["head"]))
        start.put_into(model)
    with pytest.raises(InputError, match="no update of rank 4 in linear"):
        start.put_into(wrapped(2, {"linear": 4}))
    wide: Any = Three()
    wide.linear = nn.Linear(16, 7)
    with pytest.raises(InputError, match=r"shape \(6, 2\), and this model has \(7, 2\)"):
        start.put_into(PeftModel(wide, LoraConfig(r=2, lora_alpha=4, target_modules=["linear"])))
    other: Any = Three()
    with pytest.raises(InputError, match="at scale 2, and this model has it at 4"):
        start.put_into(PeftModel(other, LoraConfig(r=2, lora_alpha=8, target_modules=["linear"])))
