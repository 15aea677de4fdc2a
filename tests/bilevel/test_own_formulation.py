"""The formulation in docs/problems.md runs, and passes the test that each gets for free."""

import re
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel

from autolora_meta.finetuning.batch_order import LoaderStream
from autolora_meta.finetuning.lora import LoraOptions, wrap_for_search
from autolora_meta.finetuning.targets import target_layers
from tests.bilevel.program import batches, tiny_model

PAGE = Path(__file__).parents[2] / "docs" / "problems.md"


def tiny() -> tuple[PeftModel, LoaderStream, LoaderStream]:
    model = tiny_model()
    names = target_layers(model, ["query"])
    wrapped = wrap_for_search(model, names, LoraOptions(k=2), seed=0)
    with torch.no_grad():
        for parameter in wrapped.parameters():
            if parameter.requires_grad:
                parameter.copy_(torch.randn_like(parameter) / 4)
    return wrapped.double().train(), LoaderStream(batches(1)), LoaderStream(batches(2))


def test_the_formulation_of_the_page_runs_and_is_sound() -> None:
    section = PAGE.read_text("utf-8").split("## A formulation of your own")[1]
    names: dict[str, Any] = {"tiny": tiny}
    first, *others = re.findall(r"^```python\n(.*?)^```", section, re.M | re.S)
    lines = [line for line in first.splitlines() if line.strip()]
    assert len(lines) <= 50
    for block in (first, *others):
        exec(block, names)
