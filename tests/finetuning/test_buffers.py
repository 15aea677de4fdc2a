"""Running statistics stand still, and other buffers that move are refused before training."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from datasets import Dataset
from PIL import Image
from torch import Tensor, nn
from transformers import (
    MobileViTConfig,
    MobileViTForImageClassification,
    ResNetConfig,
    ResNetForImageClassification,
    ViTImageProcessor,
)

from autolora_meta import prepare, retrain, search, search_model
from autolora_meta.errors import InputError
from autolora_meta.exporting.adapter import save_adapter
from autolora_meta.finetuning.models import load_model
from tests.finetuning.tiny_task import tiny_config

RESNET: Any = {"embedding_size": 8, "hidden_sizes": [8, 16], "depths": [1, 1]}
MOBILE: Any = {
    "image_size": 32,
    "patch_size": 2,
    "hidden_sizes": [16] * 3,
    "neck_hidden_sizes": [8, 8, 8, 8, 8, 16, 16],
    "num_attention_heads": 2,
}
MODELS = {
    "resnet": (
        lambda: ResNetForImageClassification(ResNetConfig(layer_type="basic", **RESNET)),
        ["convolution"],
    ),
    "mobilevit": (
        lambda: MobileViTForImageClassification(MobileViTConfig(**MOBILE)),
        ["query", "value"],
    ),
}


@pytest.mark.parametrize("name", MODELS)
def test_batch_norm_stands_still_so_that_the_adapter_is_whole(name: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    make, targets = MODELS[name]
    model = make()
    for module in model.modules():  # statistics of some pretraining
        if isinstance(module, nn.BatchNorm2d):
            assert module.running_mean is not None and module.running_var is not None
            module.running_mean.normal_(std=0.1)
            module.running_var.uniform_(0.5, 1.5)
    model.save_pretrained(tmp_path / "base")
    ViTImageProcessor(size={"height": 32, "width": 32}).save_pretrained(tmp_path / "base")
    draw = np.random.default_rng(0)
    pictures = [
        Image.fromarray(
            (draw.integers(0, 120, (32, 32, 3)) + 100 * (np.arange(3) == i % 3)).astype("uint8")
        )
        for i in range(36)
    ]
    data = Dataset.from_dict({"image": pictures, "label": ["rgb"[i % 3] for i in range(36)]})
    config = tiny_config("image-classification", tmp_path / "base", targets)
    prepared = prepare(config, data=data)
    before = {name: value.clone() for name, value in prepared.model.named_buffers()}
    result = retrain(config, search(config, prepared=prepared).ranks, prepared=prepared)
    after = dict(result.model.get_base_model().named_buffers())
    assert before and all(torch.equal(after[name], value) for name, value in before.items())
    fresh = load_model(config.model, prepared.task, seed=9)[0]
    save_adapter(result, tmp_path / "adapter", "card", base=fresh)  # compares the logits
    result.model.train()  # the model that is given back is an ordinary one
    assert any(m.training for m in result.model.modules() if isinstance(m, nn.BatchNorm2d))


class Mean(nn.Module):
    """Subtracts a running mean of its own."""

    def __init__(self, persistent: bool = True) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(6), persistent=persistent)

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            self.mean = 0.9 * self.mean + 0.1 * x.detach().mean(0)
        return x - self.mean


class Net(nn.Module):
    def __init__(self, norm: nn.Module) -> None:
        super().__init__()
        self.norm, self.linear, self.out = norm, nn.Linear(6, 6), nn.Linear(6, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(torch.tanh(self.linear(self.norm(x))))


def go(norm: nn.Module, **settings: Any) -> Any:
    rows = [torch.randn(8, 6, generator=torch.Generator().manual_seed(0)) + 1]
    model = Net(norm)
    buffers = [buffer.clone() for buffer in model.buffers()]

    def loss(model: Any, batch: Any) -> Tensor:
        return model(batch).square().mean()

    options, lora = {"outer_steps": 1}, {"k": 2}
    try:
        return search_model(model, rows, rows, loss=loss, lora=lora, options=options, **settings)
    finally:
        for now, then in zip(model.buffers(), buffers, strict=True):
            assert torch.equal(now, then)


def test_buffers_that_move_are_refused_before_the_search_unless_they_are_saved() -> None:
    with pytest.raises(InputError, match=r"changes 1 buffers of the model.*norm\.mean.*as head"):
        go(Mean())
    go(Mean(), head=("norm",))  # saved whole
    go(Mean(persistent=False))  # no state of the model
    go(nn.BatchNorm1d(6))
