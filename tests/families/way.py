"""A family's way through the product: search, ranks, retraining, adapter, stock PEFT."""

import inspect
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from datasets import ClassLabel, Dataset, Features, Image, List, Value
from peft import PeftModel
from PIL import Image as Pillow
from safetensors.torch import load_file
from torch import Tensor

from autolora_meta import InputError, RunConfig, prepare, retrain, search
from autolora_meta.exporting.adapter import save_adapter
from autolora_meta.finetuning.loading import quiet_loading
from autolora_meta.finetuning.lora import layer_costs, quiet_peft
from autolora_meta.finetuning.models import load_model
from autolora_meta.finetuning.prepare import Prepared
from autolora_meta.finetuning.retrain import RetrainResult
from autolora_meta.pipeline.program import program_of
from autolora_meta.ranks.pattern import RankPattern
from tests.families.family import CLASSES, IMAGES, TOKENS, Family
from tests.tiny import TELLING, tiny_texts, tiny_tokenizer

# What a person sets who has such a model; sounds have no task, so theirs is the nearest.
TASKS = {
    "SequenceClassification": "sequence-classification",
    "TokenClassification": "token-classification",
    "CausalLM": "causal-lm",
    "Seq2SeqLM": "generation",
    "ImageClassification": "image-classification",
    "AudioClassification": "sequence-classification",
    "SpeechSeq2Seq": "generation",
}
ROWS = 48


@dataclass(frozen=True)
class Arrival:
    """Where a family came out.

    Args:
        layers: how many got gates; 0 where it was refused.
        refused: the message of the InputError; empty where it works.
        left_out: what `all-linear` leaves out, a sentence for each reason.
    """

    layers: int
    refused: str = ""
    left_out: tuple[str, ...] = ()


class Wrong(AssertionError):
    """A model came out with another adapter, or other metrics, than was said."""


def arrival(family: Family, place: Path) -> Arrival:
    """Take a family from its weights on disk to a reloaded adapter, and compare.

    Args:
        family: which.
        place: an empty folder.

    Raises:
        Wrong: the adapter on disk is not what was asked for, or not what was measured.
    """
    base(family, place / "base")
    config = RunConfig.model_validate(_settings(family, place))
    try:
        prepared = prepare(config, data=_rows(family.task, family.pixels))
        left_out = program_of(config, prepared, config.seed).targets().sentences()
        ranks = search(config, prepared=prepared).ranks
        result = retrain(config, ranks, prepared=prepared)
    except InputError as error:
        return Arrival(0, str(error))
    fresh = load_model(config.model, prepared.task, seed=1)[0]
    save_adapter(result, place / "adapter", "A test.", base=fresh)
    _compare_ranks(ranks, prepared, result, place / "adapter")
    _compare_answers(prepared, result, place)
    return Arrival(len(ranks), left_out=tuple(left_out))


def base(family: Family, folder: Path) -> None:
    """Save a family's tiny model with what makes its inputs, as people find them on the hub."""
    model = family.model()
    with quiet_loading():
        model.save_pretrained(folder)
    if family.task == IMAGES:
        size = {"height": family.pixels, "width": family.pixels}
        settings = {"image_processor_type": "ViTImageProcessor", "size": size}
        (folder / "preprocessor_config.json").write_text(json.dumps(settings))
        return
    tokenizer = tiny_tokenizer()
    tokenizer.eos_token = "[SEP]"
    if "token_type_ids" not in inspect.signature(model.forward).parameters:
        tokenizer.model_input_names = ["input_ids", "attention_mask"]
    tokenizer.save_pretrained(folder)


def _settings(family: Family, place: Path) -> dict[str, Any]:
    return {
        "name": "family",
        "model": {"name": str(place / "base")},
        "data": {"source": "given", "train_rows": 16, "validation_rows": 16, "test_rows": 12},
        "task": {
            "type": TASKS[family.task],
            "max_length": 16,
            "generation": {"max_new_tokens": 3},
        },
        "lora": {"k": 2} | family.lora,
        "search": {
            "outer_steps": 2,
            "warmup_steps": 1,
            "batch_size": 8,
            "outer_batch_size": 8,
            "outer": {"learning_rate": 0.1},
        },
        "ranks": {"budget": "uniform:1"},
        "retrain": {"steps": 2, "batch_size": 8, "learning_rate": 0.01},
        "runtime": {"device": "cpu", "workers": 1},
    }


def _rows(task: str, pixels: int) -> Dataset:
    """Rows of the columns that a task reads."""
    rows: list[dict[str, Any]] = tiny_texts(ROWS, classes=CLASSES)
    names = list(TELLING)[:CLASSES]
    if task == IMAGES:
        draw = np.random.default_rng(0)
        pictures = draw.integers(0, 256, (ROWS, pixels, pixels, 3), dtype=np.uint8)
        rows = [
            {"image": Pillow.fromarray(picture), "label": row["label"]}
            for picture, row in zip(pictures, rows, strict=True)
        ]
        features = Features({"image": Image(), "label": ClassLabel(names=names)})
        return Dataset.from_list(rows, features=features)
    if task == TOKENS:
        tags = ["O", *names]
        of_word = {word: name for name, words in TELLING.items() for word in words}
        rows = [
            {"tokens": words, "tags": [of_word.get(word, "O") for word in words]}
            for words in (row["text"].split() for row in rows)
        ]
        features = Features({"tokens": List(Value("string")), "tags": List(ClassLabel(names=tags))})
        return Dataset.from_list(rows, features=features)
    if TASKS[task] == "generation":
        return Dataset.from_list([{"input": r["text"], "target": r["label"]} for r in rows])
    if TASKS[task] == "causal-lm":
        return Dataset.from_list([{"text": row["text"]} for row in rows])
    return Dataset.from_list(rows)


def _compare_ranks(
    ranks: RankPattern, prepared: Prepared, result: RetrainResult, folder: Path
) -> None:
    """The ranks that were asked for are those of the tensors on disk; rank 0 has no tensors."""
    tensors = load_file(folder / "adapter_model.safetensors")
    found = {
        name.removeprefix("base_model.model.").removesuffix(".lora_A.weight"): tensor.shape[0]
        for name, tensor in tensors.items()
        if name.endswith(".lora_A.weight")
    }
    asked = {name: rank for name, rank in ranks if rank > 0}
    if found != asked:
        raise Wrong(f"ranks asked {asked}, found in the file {found}")
    foreign = [
        name
        for name in tensors
        if "lora_" in name and not name.endswith((".lora_A.weight", ".lora_B.weight"))
    ]
    if foreign:
        raise Wrong(f"the file holds other factors: {foreign}")
    costs = layer_costs(prepared.model, ranks.names)
    numbers = sum(rank * cost for (_, rank), cost in zip(ranks, costs, strict=True))
    stored = sum(t.numel() for n, t in tensors.items() if "lora_" in n)
    if not numbers == stored == result.parameters == ranks.parameters:
        raise Wrong(f"parameters: {result.parameters} said, {numbers} asked, {stored} stored")


def _compare_answers(prepared: Prepared, result: RetrainResult, place: Path) -> None:
    """Stock transformers and stock PEFT, with nothing of ours, answer as the trained model does."""
    task = prepared.task
    with quiet_loading(), quiet_peft():
        plain = getattr(transformers, task.model_class).from_pretrained(
            place / "base", **task.model_settings(), ignore_mismatched_sizes=True
        )
        loaded = PeftModel.from_pretrained(plain, str(place / "adapter")).eval()
    gap = float((_logits(loaded, result.sample) - _logits(result.model, result.sample)).abs().max())
    if not gap <= 1e-5:
        raise Wrong(f"logits differ by {gap:g} after reloading")
    with quiet_loading():
        metrics = prepared.evaluate(loaded, prepared.rows["test"], 64)  # pyright: ignore[reportArgumentType]
    wrong = _differing(result.metrics, metrics)
    if wrong:
        raise Wrong(f"metrics differ after reloading: {wrong}")


@torch.no_grad()
def _logits(model: PeftModel, sample: Mapping[str, Tensor]) -> Tensor:
    return model(**sample).logits.float()


def _differing(one: Mapping[str, float], other: Mapping[str, float]) -> dict[str, Any]:
    return {
        name: (one.get(name), other.get(name))
        for name in {*one, *other}
        if not np.isclose(one.get(name, np.nan), other.get(name, np.nan), 1e-5, 1e-5, True)
    }
