"""Every family of models through search, retraining with stock PEFT, export and reload."""

from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel, get_peft_model
from torch import Tensor, nn
from transformers import PreTrainedModel

from autolora_meta.bilevel.gating import GateOptions, Gates, gated
from autolora_meta.exporting.export import export
from autolora_meta.finetuning.heads import head_modules
from autolora_meta.finetuning.lora import LoraOptions, quiet_peft, wrap_for_search
from autolora_meta.finetuning.targets import target_layers
from autolora_meta.pipeline.search_model import search_model
from tests.families import FAMILIES

FEW = {
    "outer_steps": 2,
    "warmup_steps": 2,
    "inner": {"learning_rate": 0.02},
    "outer": {"learning_rate": 0.1},
}


def loss_of(model: nn.Module, batch: Any) -> Tensor:
    return model(**batch).loss


def fitted(model: PeftModel, batch: dict[str, Tensor]) -> list[float]:
    """Losses of a few steps on one batch, as any training loop takes them."""
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=0.03)
    losses = []
    for _ in range(8):
        loss = loss_of(model.train(), batch)
        losses.append(loss.item())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return losses


@torch.no_grad()
def logits(model: nn.Module, batch: dict[str, Tensor]) -> Tensor:
    return model.eval()(**batch).logits


@pytest.mark.parametrize("name", FAMILIES)
def test_a_family_from_search_to_export(name: str, tmp_path: Path) -> None:
    family = FAMILIES[name]
    family.model().save_pretrained(tmp_path / "base")

    def fresh() -> PreTrainedModel:
        return family.auto.from_pretrained(tmp_path / "base")

    model, train = fresh(), family.batches(3)
    result = search_model(
        model, train, family.batches(2, seed=1), loss=loss_of, lora={"k": 2}, options=FEW
    )
    assert len(result.ranks.names) == family.layers
    moved = (result.trajectory[-1] - result.trajectory[0]).abs().amax(-1)  # (L,)
    assert (moved > 0).all()

    head = head_modules(model) or None
    config = result.lora_config(task_type=TYPES.get(family.task), modules_to_save=head)
    with quiet_peft():
        adapted = get_peft_model(fresh(), config)  # type: ignore[arg-type]
    losses = fitted(adapted, train[0])
    assert losses[-1] < 0.95 * losses[0]
    adapted.save_pretrained(str(tmp_path / "adapter"), save_embedding_layers=False)

    expected = logits(adapted, train[0])
    with quiet_peft():
        loaded = PeftModel.from_pretrained(fresh(), str(tmp_path / "adapter"))
    assert torch.allclose(logits(loaded, train[0]), expected, atol=1e-5)
    merged = export(tmp_path / "adapter", "merged", tmp_path / "merged")
    alone = family.auto.from_pretrained(merged)
    assert torch.allclose(logits(alone, train[0]), expected, rtol=1e-3, atol=1e-4)


TYPES = {
    "SequenceClassification": "SEQ_CLS",
    "TokenClassification": "TOKEN_CLS",
    "CausalLM": "CAUSAL_LM",
    "Seq2SeqLM": "SEQ_2_SEQ_LM",
}


@pytest.mark.parametrize("name", FAMILIES)
def test_the_loss_reaches_the_gates_of_every_default_target(name: str) -> None:
    family = FAMILIES[name]
    model = family.model()
    names = target_layers(model, "default")
    assert {layer.rsplit(".", 1)[-1] for layer in names} == set(family.default)
    wrapped = wrap_for_search(model, names, LoraOptions(k=2), seed=0)
    with torch.no_grad():
        for parameter in wrapped.parameters():
            if parameter.requires_grad:
                parameter.normal_()
    gates, (batch,) = Gates(names, 2, GateOptions()), family.batches(1)
    with gated(wrapped, gates, forward=lambda: loss_of(wrapped, batch)):
        loss_of(wrapped, batch).backward()
    assert gates.logits.grad is not None
    assert (gates.logits.grad.abs().amax(-1) > 0).all()
