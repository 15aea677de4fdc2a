"""A PEFT model rewritten in place: stock PEFT loads what it is then, and nothing else changed."""

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from torch import nn
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    Trainer,
    TrainingArguments,
)

import autolora_meta
from autolora_meta import initialize_lora_ranks
from autolora_meta.errors import InputError
from autolora_meta.finetuning.lora import quiet_peft
from autolora_meta.foundation.cost import plain_steps
from tests.interfaces.models import (
    VOCABULARY,
    adapted,
    batches,
    drawn,
    llama,
    loaded,
    logits,
    rows,
)

FEW: dict[str, Any] = {"outer_steps": 3, "warmup_steps": 2}


def look(model: PeftModel) -> dict[str, Any]:
    return {
        "values": {name: value.tolist() for name, value in model.state_dict().items()},
        "trained": [(n, id(p), p.requires_grad) for n, p in model.named_parameters()],
        "modules": [(n, id(m), m.training) for n, m in model.named_modules()],
        "config": model.peft_config["default"].to_dict(),
        "attributes": sorted(vars(model.get_base_model())),
    }


@pytest.fixture(scope="module")
def rewritten() -> PeftModel:
    model = adapted()
    drawn(model)
    # Six layers, of which two are left out for certain.
    result = initialize_lora_ranks(
        model, batches(2, 1), batches(2, 5), budget="total-rank:4", options=FEW
    )
    assert result.ranks.total_rank == 4 and 0 in result.ranks.ranks
    assert plain_steps(result.cost) > 0
    base: Any = model.get_base_model()
    made = {
        name: module.lora_A["default"].weight.shape[0]
        for name, module in base.named_modules()
        if hasattr(module, "lora_A")
    }
    assert made == {name: rank for name, rank in result.ranks if rank}
    return model


def test_the_new_adapter_is_an_untrained_one_at_the_old_scale(rewritten: PeftModel) -> None:
    assert torch.equal(logits(rewritten), logits(llama()))  # B = 0
    for module in rewritten.modules():
        if hasattr(module, "lora_A"):
            lora: Any = module
            assert lora.scaling["default"] == 2.0
            assert lora.lora_A["default"].weight.abs().min() > 0
            assert lora.lora_A["default"].weight.requires_grad


def test_stock_peft_loads_what_it_saves(rewritten: PeftModel, tmp_path: Path) -> None:
    drawn(rewritten)
    rewritten.save_pretrained(str(tmp_path), save_embedding_layers=False)
    again = loaded(tmp_path)
    assert torch.equal(logits(again), logits(rewritten))
    config: Any = again.peft_config["default"]
    assert all(name.startswith("^") for name in config.rank_pattern)
    assert all(config.alpha_pattern[n] == 2 * r for n, r in config.rank_pattern.items())
    assert {n for n, _ in again.named_parameters()} == {n for n, _ in rewritten.named_parameters()}


def test_it_is_the_model_that_get_peft_model_makes_of_its_config(rewritten: PeftModel) -> None:
    config: Any = rewritten.peft_config["default"]
    fresh = adapted(**{k: v for k, v in config.to_dict().items() if v and "peft" not in k})
    assert str(fresh.base_model) == str(rewritten.base_model)
    ours: Any = rewritten.base_model
    theirs: Any = fresh.base_model
    assert set(ours.targeted_module_names) == set(theirs.targeted_module_names)


def test_by_default_it_is_as_large_as_before() -> None:
    model = adapted()
    result = initialize_lora_ranks(model, batches(2, 1), batches(2, 5), options=FEW)
    before = sum(4 * cost for cost in result.ranks.costs)
    assert before - min(result.ranks.costs) < result.ranks.parameters <= before
    assert result.ranks.k == 8  # there is room above the rank of before


@pytest.mark.parametrize("place", [1, 9])
def test_a_search_that_fails_or_is_stopped_leaves_the_model_as_it_was(place: int) -> None:
    model = adapted()
    drawn(model)
    before, seen = look(model), []

    def failing(wrapped: nn.Module, batch: Any) -> Any:
        seen.append(batch)
        if len(seen) == place:
            raise KeyboardInterrupt
        return wrapped(**batch).loss

    with pytest.raises(KeyboardInterrupt):
        initialize_lora_ranks(model, batches(2, 1), batches(2, 5), loss=failing, options=FEW)
    assert look(model) == before
    with pytest.raises(InputError, match="cheapest component"):
        initialize_lora_ranks(model, batches(2, 1), batches(2, 5), budget=3, options=FEW)
    assert look(model) == before


def test_the_head_that_peft_trains_is_kept() -> None:
    sizes: Any = {"hidden_size": 8, "intermediate_size": 12, "num_hidden_layers": 1}
    sizes["num_labels"] = 3
    torch.manual_seed(0)
    base = BertForSequenceClassification(
        BertConfig(vocab_size=VOCABULARY, num_attention_heads=2, **sizes)
    )
    config = LoraConfig(r=2, target_modules=["query", "value"], task_type="SEQ_CLS")
    with quiet_peft():
        model = get_peft_model(base, config)
    drawn(model)
    head = model.get_parameter("base_model.model.classifier.modules_to_save.default.weight")
    values = head.detach().clone()
    data = [{**batch, "labels": torch.tensor([0, 1, 2, 0])} for batch in batches(2, 1)]
    initialize_lora_ranks(model, data, data, options=FEW)  # type: ignore[arg-type]
    after = dict(model.named_parameters())
    assert after["base_model.model.classifier.modules_to_save.default.weight"] is head
    assert torch.equal(head, values) and head.requires_grad


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"use_dora": True}, "not plain LoRA at one scale: use_dora"),
        ({"use_rslora": True}, "use_rslora"),
        ({"alpha_pattern": {"v_proj": 4}}, "alpha / r goes from 1 to 2"),
    ],
)
def test_other_adapters_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        initialize_lora_ranks(adapted(**settings), batches(1, 1), batches(1, 5), options=FEW)


def test_other_models_and_batches_are_refused() -> None:
    with pytest.raises(InputError, match=r"given LlamaForCausalLM\. Make one with get_peft"):
        initialize_lora_ranks(llama(), batches(1, 1), batches(1, 5))  # type: ignore[arg-type]
    with pytest.raises(InputError, match="must have the adapter 'mine' and no other"):
        initialize_lora_ranks(adapted(), batches(1, 1), batches(1, 5), adapter_name="mine")
    bare = [{"input_ids": batch["input_ids"]} for batch in batches(1, 1)]
    with pytest.raises(InputError, match=r"no loss of a batch.*give loss=lambda"):
        initialize_lora_ranks(adapted(), bare, bare)


def test_the_lines_of_its_docstring_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = re.findall(r"^ *>>> (.*)$", initialize_lora_ranks.__doc__ or "", re.M)
    assert len(lines) <= 10
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("autolora_meta.interfaces.lora_ranks.SMALL", FEW)
    args = TrainingArguments(
        "out", max_steps=1, report_to=[], use_cpu=True, save_strategy="no", disable_tqdm=True
    )
    names = {
        "base": llama(),
        "train_loader": batches(2, 1),
        "validation_loader": batches(2, 5),
        "torch": torch,
        "Trainer": Trainer,
        "args": args,
        "rows": rows(8, 1),
    }
    with quiet_peft():
        exec("\n".join(lines), names)
    config: Any = loaded(tmp_path / "adapter").peft_config["default"]
    assert config.rank_pattern
    assert autolora_meta.initialize_lora_ranks is initialize_lora_ranks
