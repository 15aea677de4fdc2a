"""A replicate whose right ranks are known: three layers, whose changes have ranks 3, 1 and 0."""

from collections.abc import Mapping
from typing import Any, cast

import torch
from datasets import Dataset, DatasetDict
from torch import Tensor, nn

from autolora_meta.allocators.replicate import Replicate
from autolora_meta.config.run import RunConfig
from autolora_meta.finetuning.prepare import Prepared
from autolora_meta.finetuning.tasks import Task
from autolora_meta.finetuning.tasks.metrics import named

WIDTH = 6
RANKS = (3, 1, 0)
SETTINGS: dict[str, Any] = {
    "name": "planted",
    "model": {"name": "planted"},
    "data": {"source": "planted"},
    "lora": {"k": 4, "scale": 1.0},
    "search": {
        "outer_steps": 60,
        "warmup_steps": 20,
        "batch_size": 16,
        "outer_batch_size": 16,
        "inner": {"learning_rate": 3e-2},
        "outer": {"learning_rate": 3e-2},
    },
    "ranks": {"budget": "total-rank:4", "importance": "product"},
    "runtime": {"device": "cpu"},
}


class Layers(nn.Module):
    """Linear layers side by side, each with its own part of the input."""

    def __init__(self, widths: tuple[int, ...] = (WIDTH,) * len(RANKS)) -> None:
        super().__init__()
        self.widths = widths
        self.block = nn.ModuleList(nn.Linear(w, w, bias=False) for w in widths)

    def forward(self, x: Tensor) -> Tensor:
        parts = x.split(self.widths, dim=-1)
        return torch.cat([layer(p) for layer, p in zip(self.block, parts, strict=True)], dim=-1)


class Regression(Task):
    """Mean squared error of all outputs."""

    roles = ()
    measures = named("mean_squared_error")

    @classmethod
    def build(cls, options: Any, rows: Any, **_: Any) -> "Regression":
        return cls()

    def encode(self, rows: Dataset, processor: Any, say: Any = print) -> Dataset:
        return rows

    def loss(self, model: nn.Module, batch: Mapping[str, Any]) -> Tensor:
        return (model(batch["x"]) - batch["y"]).square().mean()

    def evaluate(self, model: Any, rows: Any, processor: Any, batch_size: int) -> dict[str, float]:
        return {}


def collate(rows: list[dict[str, Any]]) -> dict[str, Tensor]:
    return {key: torch.tensor([row[key] for row in rows]) for key in rows[0]}


def replicate_of(model: nn.Module, rows: Dataset, *changes: Any, seed: int = 0) -> Replicate:
    """One seed of a run on a model and rows at hand; a half of the rows is for validation."""
    replicate = Replicate(RunConfig.load(SETTINGS, *changes), seed)
    half = len(rows) // 2
    parts = {
        "train": rows.select(range(half)),
        "validation": rows.select(range(half, len(rows))),
        "test": rows.select([]),
    }
    prepared: Any = Prepared(model, None, Regression(), DatasetDict(parts), (), collate)  # pyright: ignore
    replicate.__dict__["prepared"] = prepared  # what the cached property holds once it is there
    return replicate


def blocks(replicate: Replicate) -> list[Any]:
    """The layers of its model."""
    return list(cast(Any, replicate.prepared.model).block)


def planted(*changes: Any, seed: int = 0) -> Replicate:
    """Targets are those of the same layers with changes of ranks 3, 1 and 0 on top."""
    torch.manual_seed(0)
    model = Layers()
    x = torch.randn(128, WIDTH * len(RANKS))
    with torch.no_grad():
        parts = []
        for layer, part, rank in zip(model.block, x.split(WIDTH, dim=-1), RANKS, strict=True):
            u, v = (torch.linalg.qr(torch.randn(WIDTH, WIDTH)).Q[:, :rank] for _ in range(2))
            parts.append(layer(part) + 2.0 * part @ v @ u.T)
        y = torch.cat(parts, dim=-1)
    return replicate_of(
        model, Dataset.from_dict({"x": x.tolist(), "y": y.tolist()}), *changes, seed=seed
    )
