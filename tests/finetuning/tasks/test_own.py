"""A task of a person's own: given to prepare, or registered by their package."""

from collections.abc import Callable, Mapping
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any, Self

import pytest
from datasets import Dataset, DatasetDict
from torch import Tensor, nn
from torch.nn.functional import huber_loss

from autolora_meta import RunConfig, Task, prepare, retrain, search
from autolora_meta.errors import InputError
from autolora_meta.finetuning.data.roles import TEXT, Role
from autolora_meta.finetuning.evaluation import predictions
from autolora_meta.finetuning.tasks.metrics import Metric
from autolora_meta.foundation import plugins
from tests.finetuning.tiny_task import falls, tiny_config

OFFSET = 100.0


class Length(Task):
    """How long a text is, by a loss of its own."""

    roles = (TEXT, Role("label", "number", ("length",)))
    measures = {"worst": Metric("lower", "words", 1.0, "largest error")}  # noqa: RUF012
    peft_type = "SEQ_CLS"
    model_class = "AutoModelForSequenceClassification"

    @classmethod
    def build(cls, options: Any, rows: DatasetDict, **given: Any) -> Self:
        return cls()

    def model_settings(self) -> dict[str, Any]:
        return {"num_labels": 1}

    def encode(self, rows: Dataset, processor: Any, say: Callable[[str], None] = print) -> Dataset:
        encoded = processor(list(rows["text"]), truncation=True)
        return Dataset.from_dict({**encoded, "labels": list(rows["label"])})

    def loss(self, model: nn.Module, batch: Mapping[str, Any]) -> Tensor:
        inputs = {name: tensor for name, tensor in batch.items() if name != "labels"}
        return OFFSET + huber_loss(model(**inputs).logits[:, 0], batch["labels"])

    def evaluate(
        self, model: Any, rows: Dataset, processor: Any, batch_size: int
    ) -> dict[str, float]:
        logits, labels = predictions(model, rows, self.collator(processor), batch_size)
        return {"worst": float(abs(logits[:, 0] - labels).max())}


@pytest.fixture
def numbered(rows: DatasetDict) -> Dataset:
    part = rows["train"].remove_columns("label")
    return part.add_column("length", [float(len(text.split())) for text in part["text"]])


@pytest.mark.parametrize("task", [Length, Length()], ids=["class", "object"])
def test_a_task_given_as_it_is(folder: Path, numbered: Dataset, task: Any) -> None:
    config = tiny_config("sequence-classification", folder, ["query", "value"])
    prepared = prepare(config, data=numbered, task=task)
    found = search(config, prepared=prepared)
    result = retrain(config, found.ranks, prepared=prepared)
    assert set(result.metrics) == {"worst"}
    # Both phases minimise its own loss.
    assert all(OFFSET < row["loss"] < OFFSET + 20 for row in result.log)
    assert falls(result)


def test_a_task_that_a_package_registers(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real, named = (
        plugins._table,
        {
            "length": EntryPoint("length", f"{__name__}:Length", plugins.TASKS),
            "broken": EntryPoint("broken", "math:pi", plugins.TASKS),
        },
    )
    monkeypatch.setattr(
        plugins, "_table", lambda group: named if group == plugins.TASKS else real(group)
    )
    monkeypatch.setattr(
        EntryPoint, "load", lambda point: {"length": Length, "broken": 3.14}[point.name]
    )
    config = tiny_config("sequence-classification", folder, ["query"]).model_dump(mode="json")
    with pytest.raises(InputError, match=r"registered .* as 3\.14; a task is a subclass"):
        RunConfig.load(config, "task.type=broken")
    del named["broken"]
    own = RunConfig.load(config, "task.type=length", "compare.metrics=[worst]")
    assert own.compare.metrics == ("worst",)
    with pytest.raises(InputError, match=r"allowed: .*image-classification, length"):
        RunConfig.load(config, "task.type=lenght")
