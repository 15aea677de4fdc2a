"""A tiny Llama with LoRA, its batches, and a training of it by transformers' Trainer."""

from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from peft import LoraConfig, PeftModel, get_peft_model
from torch import Tensor, nn
from transformers import LlamaConfig, LlamaForCausalLM, Trainer, TrainingArguments

from autolora_meta.finetuning.lora import quiet_peft

VOCABULARY = 32


def llama() -> LlamaForCausalLM:
    """The same numbers at each call."""
    sizes = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2}
    heads = {"num_attention_heads": 2, "num_key_value_heads": 1}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return LlamaForCausalLM(LlamaConfig(vocab_size=VOCABULARY, **sizes, **heads))  # type: ignore[arg-type]


def adapted(base: nn.Module | None = None, **settings: Any) -> PeftModel:
    """Plain LoRA of rank 4 at scale 2, unless `settings` says otherwise."""
    usual = {"r": 4, "lora_alpha": 8, "target_modules": ["q_proj", "v_proj", "down_proj"]}
    config = LoraConfig(**{**usual, "task_type": "CAUSAL_LM", **settings})
    with torch.random.fork_rng(devices=[]), quiet_peft():
        torch.manual_seed(1)
        made = get_peft_model(base or llama(), config)  # type: ignore[arg-type]
    assert isinstance(made, PeftModel)
    return made


def loaded(folder: Path) -> PeftModel:
    with quiet_peft():
        return PeftModel.from_pretrained(llama(), str(folder)).eval()


def rows(count: int, seed: int) -> Dataset:
    """Texts that count upwards from any word, so that there is something to learn."""
    draw = torch.Generator().manual_seed(seed)
    starts = torch.randint(0, VOCABULARY, (count, 1), generator=draw)
    ids = ((starts + torch.arange(8)) % VOCABULARY).tolist()
    return Dataset.from_list([{"input_ids": row, "labels": row} for row in ids])


def batches(count: int, seed: int) -> list[dict[str, Tensor]]:
    ids = [torch.tensor(rows(4, seed + i)["input_ids"][:]) for i in range(count)]
    return [{"input_ids": batch, "labels": batch} for batch in ids]


def logits(model: nn.Module) -> Tensor:
    with torch.no_grad():
        return model.eval()(input_ids=torch.arange(8)[None]).logits


def drawn(model: nn.Module) -> None:
    """Every trained number away from zero."""
    draw = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.normal_(generator=draw)


def trainer(model: nn.Module, place: Path, **settings: Any) -> Trainer:
    """A Trainer of 12 steps, with evaluation rows."""
    usual = {
        "output_dir": str(place),
        "max_steps": 12,
        "per_device_train_batch_size": 4,
        "per_device_eval_batch_size": 4,
        "learning_rate": 1e-2,
        "report_to": [],
        "use_cpu": True,
        "save_strategy": "no",
        "disable_tqdm": True,
        "logging_strategy": "no",
    }
    args = TrainingArguments(**{**usual, **settings})
    return Trainer(model, args, train_dataset=rows(40, 1), eval_dataset=rows(12, 2))
