"""The model card of an adapter: what it is, how it was made, how to load it."""

from collections import Counter

import yaml
from transformers import BaseImageProcessor

from autolora_meta.config.run import RunConfig
from autolora_meta.finetuning.data.shift import SHIFTED
from autolora_meta.finetuning.prepare import Prepared
from autolora_meta.finetuning.retrain import RetrainResult
from autolora_meta.ranks.pattern import RankPattern
from autolora_meta.reporting.markdown import ranks_table
from autolora_meta.reporting.quoting import code_span, escaped, python


def model_card(
    config: RunConfig,
    pattern: RankPattern,
    result: RetrainResult,
    prepared: Prepared,
    *,
    by_hand: bool = False,
) -> str:
    """README.md of an adapter, with the metadata that the hub reads.

    Args:
        config: of the run.
        pattern: the adapter's ranks.
        result: the retrained adapter.
        prepared: base model and rows.
        by_hand: the ranks are not those that the run's own search and rule gave.
    """
    base = prepared.model.config.name_or_path
    spread = ", ".join(f"{n} at rank {r}" for r, n in sorted(Counter(pattern.ranks).items()))
    sizes = {split: len(rows) for split, rows in prepared.rows.items()}
    figures = "\n".join(f"- {escaped(name)}: {value:.4f}" for name, value in result.metrics.items())
    tags = ["lora", "autolora", "autolora-meta"]
    head = {"base_model": base, "library_name": "peft", "tags": tags}
    by_budget = not by_hand and config.ranks.rule == "budget"
    budget = f" (budget: {config.ranks.budget})" if by_budget else ""
    shifted = f"; {SHIFTED}" if config.data.evaluation is not None else ""
    return f"""---
{yaml.safe_dump(head, sort_keys=False)}---

# {escaped(config.name)}

A LoRA adapter with its own rank for each layer, made by autolora-meta.

- base model: {code_span(base)}
- data: {code_span(config.data.source)}, {sizes["train"] + sizes["validation"]} rows to train on, \
{sizes["test"]} to test on, seed {config.seed}{shifted}
- ranks: {len(pattern)} layers, {spread}
- size: {pattern.parameters:,} adapter parameters{budget}, head apart
- scale: alpha = {pattern.scale:g} * rank in every layer
- ranks {"given by hand" if by_hand else _origin(config)}
- retrained: {config.retrain.steps} steps on train and validation rows

On the test rows, for this one seed (see the run's comparison for what may be concluded):

{figures}

## Load

```python
{_load(prepared)}
```

## Ranks

{ranks_table(pattern)}
"""


def _origin(config: RunConfig) -> str:
    search, ranks = config.search, config.ranks
    if ranks.choose == "race":
        return "from: a race between ways to choose ranks, judged on held-out rows"
    return (
        f"from: {search.hypergradient.method} hypergradient, {search.schedule}, "
        f"{search.outer_steps} outer steps, importance `{ranks.importance}`, rule `{ranks.rule}`"
    )


def _load(prepared: Prepared) -> str:
    """Return the Python that loads the adapter."""
    task, base = prepared.task, prepared.model.config.name_or_path
    pictures = isinstance(prepared.tokenizer, BaseImageProcessor)
    auto = "AutoImageProcessor" if pictures else "AutoTokenizer"
    named = f"labels = {python(task.labels)}\n" if task.labels else ""
    count = "len(labels)" if task.labels else task.model_settings().get("num_labels")
    settings = f", num_labels={count}" if count else ""
    return f"""from peft import PeftModel
from transformers import {task.model_class}, {auto}

{named}base = {task.model_class}.from_pretrained({python(str(base))}{settings})
model = PeftModel.from_pretrained(base, "path/to/this/folder")
{"processor" if pictures else "tokenizer"} = {auto}.from_pretrained("path/to/this/folder")"""


def plain_card(pattern: RankPattern, scale: str, *, trained: bool) -> str:
    """README.md, without front matter, of an adapter of which the ranks alone are known.

    Args:
        pattern: the adapter's ranks.
        scale: alpha / rank of its layers, in words.
        trained: whether somebody has trained it.
    """
    state = "" if trained else " Nobody has trained it yet: it is a start."
    return f"""
# LoRA with its own rank for each layer
{state}
Made by autolora-meta, and loaded by PEFT alone:
`PeftModel.from_pretrained(base, "path/to/this/folder")`.

- scale (alpha / rank): {scale}

## Ranks

{ranks_table(pattern)}
"""
