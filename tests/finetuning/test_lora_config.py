"""Rank patterns as configurations of PEFT: exact ranks and scales, no layer but those named."""

from pathlib import Path

import pytest
import torch
from peft import PeftModel, get_peft_model
from peft.tuners.lora import LoraLayer
from torch import nn
from transformers.pytorch_utils import Conv1D

from autolora_meta.errors import InputError
from autolora_meta.finetuning.lora_config import lora_config
from autolora_meta.ranks.pattern import RankPattern

# PEFT sets fan_in_fan_out by itself for each kind of layer, and says so where kinds are mixed.
pytestmark = pytest.mark.filterwarnings("ignore:fan_in_fan_out is set to:UserWarning")


class Attention(nn.Module):
    def __init__(self, inner: bool) -> None:
        super().__init__()
        self.query = nn.Linear(6, 6)
        self.value = Conv1D(6, 6)
        if inner:
            self.attention = Attention(False)  # its names end as those of the outer one do

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.value(self.query(x))
        return self.attention(x) if hasattr(self, "attention") else x


class Net(nn.Module):
    """Linear, Conv1D and Conv2d layers; names that end alike, and one with a character of regex."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv = nn.Conv2d(2, 3, 3)
        self.attention = Attention(True)
        self.query = nn.Linear(6, 6)
        self.add_module("up+down[0]", nn.Linear(6, 4))
        self.add_module("upp+down0", nn.Linear(6, 4))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.attention(self.conv(x).flatten(1)[:, :6])
        modules = dict(self.named_children())
        return modules["up+down[0]"](self.query(x)) + modules["upp+down0"](x)


NAMES = {
    "conv": 2 * 9 + 3,
    "attention.query": 12,
    "attention.value": 12,
    "attention.attention.query": 12,
    "attention.attention.value": 12,
    "query": 12,
    "up+down[0]": 10,
    "upp+down0": 10,
}
SCALE = 1.5
MIXED = (3, 1, 0, 4, 2, 2, 1, 0)
BATCH = torch.ones(2, 2, 5, 5)


def _pattern(ranks: tuple[int, ...]) -> RankPattern:
    return RankPattern(tuple(NAMES), ranks, tuple(NAMES.values()), k=4, scale=SCALE)


def _lora_layers(model: PeftModel) -> dict[str, LoraLayer]:
    modules = model.get_base_model().named_modules()
    return {name: m for name, m in modules if isinstance(m, LoraLayer)}


def _ranks(model: PeftModel) -> dict[str, int]:
    return {name: layer.r["default"] for name, layer in _lora_layers(model).items()}


ONE_EACH = [tuple(int(i == j) for j in range(8)) for i in range(8)]


@pytest.mark.parametrize("ranks", [MIXED, (2,) * 8, *ONE_EACH])
def test_each_layer_gets_its_rank_at_the_same_scale(ranks: tuple[int, ...]) -> None:
    pattern = _pattern(ranks)
    model = get_peft_model(Net(), lora_config(pattern))  # type: ignore[arg-type]
    assert _ranks(model) == {name: rank for name, rank in pattern if rank}
    layers = _lora_layers(model).values()
    assert all(layer.scaling["default"] == pytest.approx(SCALE) for layer in layers)
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    assert trained == pattern.parameters


def test_a_saved_adapter_loads_with_the_same_ranks_and_outputs(tmp_path: Path) -> None:
    model = get_peft_model(Net(), lora_config(_pattern(MIXED)))  # type: ignore[arg-type]
    for parameter in model.parameters():
        if parameter.requires_grad:
            nn.init.normal_(parameter)
    model.save_pretrained(str(tmp_path))
    loaded = PeftModel.from_pretrained(Net(), tmp_path)  # type: ignore[arg-type]
    assert _ranks(loaded) == _ranks(model)
    assert torch.equal(loaded(BATCH), model.eval()(BATCH))


def test_the_saved_configuration_is_the_same_bytes_each_time(tmp_path: Path) -> None:
    for folder in ("first", "second"):
        lora_config(_pattern(MIXED), modules_to_save=["query"]).save_pretrained(
            str(tmp_path / folder)
        )
    first, second = (tmp_path / f / "adapter_config.json" for f in ("first", "second"))
    assert first.read_bytes() == second.read_bytes()


def test_ranks_that_are_all_zero_are_refused() -> None:
    with pytest.raises(InputError, match="all 8 ranks are 0"):
        lora_config(_pattern((0,) * 8))
