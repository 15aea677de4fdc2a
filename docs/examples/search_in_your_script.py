# /// script
# requires-python = ">=3.11"
# dependencies = [
#     "autolora-meta",
#     "peft>=0.18,<0.22",
#     "torch>=2.7",
#     "transformers>=5.0,<6",
# ]
#
# [tool.uv.sources]
# autolora-meta = { path = "../.." }  # this checkout; leave it out where the package is installed
# ///
"""Fine-tune a causal model on lines of text, with LoRA ranks that are learned first.

uv run docs/examples/search_in_your_script.py MODEL texts.txt --rank 8 --output adapter

MODEL is a folder or an id of the hub; texts.txt has one text a line. Without uv: install the
packages above, and run it with python.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import torch
from peft import LoraConfig, get_peft_model
from torch.utils.data import DataLoader
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    DataCollatorForLanguageModeling,
    Trainer,
    TrainingArguments,
)

from autolora_meta import initialize_lora_ranks


def main(
    model: str,
    texts: Sequence[str],
    output: Path,
    *,
    rank: int = 8,
    steps: int = 500,
    **search: int,
) -> None:
    """Learn ranks at the size of uniform rank `rank`, train, and save a stock PEFT adapter."""
    tokenizer = AutoTokenizer.from_pretrained(model)
    tokenizer.pad_token = tokenizer.pad_token or tokenizer.eos_token
    rows = [tokenizer(text, truncation=True, max_length=256) for text in texts]
    cut = len(rows) // 5
    collate = DataCollatorForLanguageModeling(tokenizer, mlm=False)

    # 1. A PEFT model, as ever.
    device = "cuda" if torch.cuda.is_available() else "cpu"
    base = AutoModelForCausalLM.from_pretrained(model).to(device)
    config = LoraConfig(r=rank, lora_alpha=2 * rank, target_modules="all-linear")
    adapted = get_peft_model(base, config)

    # 2. Its ranks: trained on four fifths of the rows, judged on the rest.
    train = DataLoader(rows[cut:], batch_size=8, shuffle=True, collate_fn=collate)
    validation = DataLoader(rows[:cut], batch_size=8, shuffle=True, collate_fn=collate)
    result = initialize_lora_ranks(adapted, train, validation, options=search)
    print({name: rank for name, rank in result.ranks})

    # 3. A training, as ever, on all rows.
    arguments = TrainingArguments(
        str(output / "training"), max_steps=steps, per_device_train_batch_size=8, report_to=[]
    )
    Trainer(adapted, arguments, train_dataset=rows, data_collator=collate).train()
    adapted.save_pretrained(str(output / "adapter"))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model")
    parser.add_argument("texts", type=Path)
    parser.add_argument("--output", type=Path, default=Path("trained"))
    parser.add_argument("--rank", type=int, default=8)
    parser.add_argument("--steps", type=int, default=500)
    given = parser.parse_args()
    lines = [line for line in given.texts.read_text(encoding="utf-8").splitlines() if line]
    main(given.model, lines, given.output, rank=given.rank, steps=given.steps)
