"""Adapters that every export is tried on."""

import pytest
import torch
from peft import LoraConfig
from transformers import (
    AutoModelForCausalLM,
    GPT2Config,
    GPT2LMHeadModel,
)

from autolora_meta.finetuning.lora import layer_costs
from autolora_meta.finetuning.lora_config import lora_config
from autolora_meta.finetuning.targets import target_layers
from autolora_meta.ranks.pattern import RankPattern
from tests.exporting.adapters import RANKS, Adapter, classifier, saved
from tests.tiny import tiny_bert


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Adapter:
    """An adapter with our ranks and a head of three classes."""
    place = tmp_path_factory.mktemp("bert")
    base = tiny_bert(place / "base")
    model = classifier(base)
    names = target_layers(model, ["query", "value"])
    pattern = RankPattern(names, RANKS, layer_costs(model, names), k=3, scale=2.0)
    config = lora_config(pattern, task_type="SEQ_CLS", modules_to_save=["classifier"])
    return base, saved(model, config, place / "adapter")


@pytest.fixture(scope="module")
def gpt2(tmp_path_factory: pytest.TempPathFactory) -> Adapter:
    """Somebody else's adapter: Conv1D layers, two scales, rsLoRA."""
    place = tmp_path_factory.mktemp("gpt2")
    torch.manual_seed(1)
    config = GPT2Config(vocab_size=32, n_positions=32, n_embd=8, n_layer=2, n_head=2)
    GPT2LMHeadModel(config).save_pretrained(place / "base")
    foreign = LoraConfig(
        r=2,
        lora_alpha=3,
        target_modules=["c_attn", "mlp.c_proj"],
        rank_pattern={"h.1.attn.c_attn": 4},
        alpha_pattern={"c_proj": 5},
        use_rslora=True,
        task_type="CAUSAL_LM",
    )
    base = AutoModelForCausalLM.from_pretrained(place / "base")
    return place / "base", saved(base, foreign, place / "adapter")
