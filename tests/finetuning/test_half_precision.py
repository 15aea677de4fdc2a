"""A base stored in half precision: its head is trained in float32 and comes back from its file."""

from pathlib import Path

import pytest
import torch
from peft import PeftModel
from transformers import BertConfig, BertForSequenceClassification

from autolora_meta import RunConfig, prepare, retrain, search, search_model
from autolora_meta.exporting.adapter import save_adapter
from autolora_meta.finetuning.models import load_model
from tests.finetuning.tiny_task import tiny_config
from tests.tiny import tiny_csv


def config_of(folder: Path, tmp_path: Path, dtype: str) -> RunConfig:
    source = f"data.source={tiny_csv(tmp_path / 'rows.csv')}"
    config = tiny_config("sequence-classification", folder, ["query", "value"])
    more = ["retrain.learning_rate=0.0005", "search.inner.learning_rate=1e-7"]
    return RunConfig.load(config.model_dump(), source, f"model.dtype={dtype}", *more)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_the_head_is_trained_and_saved_in_float32(folder: Path, tmp_path: Path, dtype: str) -> None:
    config = config_of(folder, tmp_path, dtype)
    prepared = prepare(config)
    before = prepared.model.get_parameter("classifier.weight").detach().clone()
    result = retrain(config, search(config, prepared=prepared).ranks, prepared=prepared)
    head = result.model.get_base_model().get_submodule("classifier")
    trained = head.modules_to_save["default"].weight  # type: ignore[union-attr,index]
    assert before.dtype == trained.dtype == torch.float32
    assert (trained != before).all()
    fresh = load_model(config.model, prepared.task, seed=9)[0]
    save_adapter(result, tmp_path / "adapter", "card", base=fresh)  # compares the logits
    assert fresh.dtype == getattr(torch, dtype)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_a_model_of_ones_own_is_searched_with_a_float32_head(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    size = {"hidden_size": 8, "intermediate_size": 16, "num_attention_heads": 2}
    model = BertForSequenceClassification(
        BertConfig(vocab_size=20, num_hidden_layers=1, **size)  # type: ignore[arg-type]
    ).to(dtype)  # pyright: ignore[reportArgumentType]
    rows = [{"input_ids": torch.arange(4, 12).reshape(2, 4), "labels": torch.tensor([0, 1])}]
    seen = []

    def loss(wrapped, batch):
        out = wrapped(**batch)
        if isinstance(wrapped, PeftModel):
            seen.append(out.logits.dtype)
        return out.loss

    options = {"outer_steps": 2, "warmup_steps": 1}
    result = search_model(model, rows, rows, loss=loss, lora={"k": 2}, options=options)
    assert set(seen) == {torch.float32}
    assert all(torch.isfinite(gates).all() for gates in result.trajectory)
    assert model(**rows[0]).logits.dtype == model.classifier.weight.dtype == dtype
