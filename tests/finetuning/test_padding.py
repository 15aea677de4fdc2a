"""Padding: what is measured does not depend on the rows beside a row, nor on the tokenizer."""

from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from datasets import Dataset
from peft import PeftModel
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    PreTrainedTokenizerBase,
)

from autolora_meta import RunConfig, prepare, retrain, search
from autolora_meta.errors import InputError
from autolora_meta.exporting.adapter import save_adapter
from autolora_meta.finetuning.lora import quiet_peft
from autolora_meta.finetuning.models import load_model
from autolora_meta.finetuning.prepare import Prepared
from tests.finetuning.tiny_task import tiny_config
from tests.tiny import tiny_texts, tiny_tokenizer

GPT2 = {"n_embd": 16, "n_layer": 2, "n_head": 2, "n_positions": 64}
BERT = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
BERT |= {"intermediate_size": 32, "max_position_embeddings": 64, "initializer_range": 0.2}
FNET = {name: BERT[name] for name in BERT if name != "num_attention_heads"}
MODELS: dict[str, tuple[str, dict[str, Any]]] = {
    "bert": ("Bert", BERT),
    "roberta": ("Roberta", BERT),
    "gpt2": ("GPT2", GPT2 | {"initializer_range": 0.2}),
    "gpt_neo": (
        "GPTNeo",
        {
            "hidden_size": 16,
            "num_layers": 2,
            "num_heads": 2,
            "max_position_embeddings": 64,
            "attention_types": [[["global", "local"], 1]],
            "window_size": 4,
            "initializer_range": 0.2,
        },
    ),
    "llama": ("Llama", BERT | {"num_key_value_heads": 1}),
    "xlnet": ("XLNet", {"d_model": 16, "n_layer": 2, "n_head": 2, "d_inner": 32}),
    "fnet": ("FNet", FNET),
    "rwkv": ("Rwkv", {"hidden_size": 16, "num_hidden_layers": 2, "attention_hidden_size": 16}),
    "bart": (
        "Bart",
        {
            "d_model": 16,
            "encoder_layers": 1,
            "decoder_layers": 1,
            "encoder_attention_heads": 2,
            "decoder_attention_heads": 2,
            "encoder_ffn_dim": 32,
            "decoder_ffn_dim": 32,
            "init_std": 0.2,
            "decoder_start_token_id": 2,
        },
    ),
}
HEADS = {"causal-lm": "CausalLM", "generation": "CausalLM"}
TARGETS = {"bert": ["query"], "xlnet": ["layer_1"]}
SPECIAL = {"pad_token_id": 0, "bos_token_id": 2, "eos_token_id": 3}


def given(task: str, count: int = 90) -> Dataset:
    rows = tiny_texts(count)
    texts = [row["text"] for row in rows]
    if task == "token-classification":
        words = [text.split() for text in texts]
        tags = [["B-X" if len(word) > 3 else "O" for word in sentence] for sentence in words]
        return Dataset.from_dict({"tokens": words, "tags": tags})
    if task == "regression":
        return Dataset.from_dict({"text": texts, "label": [float(len(text)) for text in texts]})
    if task == "generation":
        return Dataset.from_dict({"text": texts, "target": [text[:9] for text in texts]})
    return Dataset.from_list(rows)


def start(
    folder: Path,
    family: str,
    task: str,
    side: str,
    said: list[str] | None = None,
    inputs: tuple[str, ...] = ("input_ids", "token_type_ids", "attention_mask"),
) -> tuple[RunConfig, Prepared]:
    tokenizer = tiny_tokenizer()
    tokenizer.eos_token = "[SEP]"
    tokenizer.init_kwargs["padding_side"] = tokenizer.padding_side = side
    name, settings = MODELS[family]
    config = getattr(transformers, f"{name}Config")(
        **settings, vocab_size=len(tokenizer), **SPECIAL
    )
    head = HEADS.get(task)
    if family == "bart" and task == "generation":
        head = "Seq2SeqLM"
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        auto = getattr(transformers, f"AutoModelFor{head}" if head else "AutoModel")
        auto.from_config(config).save_pretrained(folder)
    tokenizer.init_kwargs["model_input_names"] = tokenizer.model_input_names = list(inputs)
    tokenizer.save_pretrained(folder)
    more = {"generation": {"max_new_tokens": 4}} if task == "generation" else {}
    run = tiny_config(task, folder, TARGETS.get(family, ["c_attn"]), **more)
    say = (said if said is not None else []).append
    prepared = prepare(run, data=given(task), say=say)
    with torch.no_grad(), torch.random.fork_rng(devices=[]):  # a head that tells texts apart
        torch.manual_seed(1)
        for module in prepared.head:
            for parameter in prepared.model.get_submodule(module).parameters():
                parameter.normal_(std=0.5)
    return run, prepared


@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize(
    ("family", "task"),
    [
        ("bert", "sequence-classification"),
        ("bert", "token-classification"),
        ("gpt2", "sequence-classification"),  # the answer stands at the last token of the text
        ("gpt2", "regression"),
        ("gpt2", "causal-lm"),
        ("gpt2", "generation"),
        ("gpt_neo", "generation"),
        ("llama", "sequence-classification"),
        ("xlnet", "sequence-classification"),  # at the last position, whatever stands there
        ("fnet", "sequence-classification"),  # no mask: padding is read on both sides
        ("rwkv", "generation"),  # no mask either, and words are written behind padding
        ("bart", "generation"),
    ],
)
def test_metrics_do_not_depend_on_the_batch_size(
    family: str, task: str, side: str, tmp_path: Path
) -> None:
    _, prepared = start(tmp_path, family, task, side)
    alone, some, many = (
        prepared.evaluate(prepared.model, prepared.rows["train"], size) for size in (1, 7, 64)
    )
    assert some == pytest.approx(alone, rel=1e-5, abs=1e-5)
    assert many == pytest.approx(alone, rel=1e-5, abs=1e-5)
    if "perplexity" in alone:  # a sum over tokens in float64: no rounding of batches shows
        assert abs(many["perplexity"] - alone["perplexity"]) < 3e-6


def test_a_tokenizer_without_a_mask_is_asked_for_one(tmp_path: Path) -> None:
    _, prepared = start(
        tmp_path / "base", "bert", "sequence-classification", "left", inputs=("input_ids",)
    )
    rows = prepared.rows["train"]
    one, many = (prepared.evaluate(prepared.model, rows, size) for size in (1, 64))
    assert prepared.padding_hidden and many == pytest.approx(one, rel=1e-5, abs=1e-5)
    prepared.tokenizer.save_pretrained(tmp_path / "saved")
    saved = AutoTokenizer.from_pretrained(tmp_path / "saved")
    assert saved(["cat", "the cat"], padding=True)["attention_mask"][0] == [1, 1, 1, 0]


def test_a_model_of_several_parts_is_told_its_padding_in_each(tmp_path: Path) -> None:
    text = BERT | {"num_key_value_heads": 1, "head_dim": 8, "vocab_size": 40, "pad_token_id": None}
    vision = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1}
    vision |= {"num_attention_heads": 2, "image_size": 32, "patch_size": 8}
    config = transformers.Gemma3Config(
        text_config=text,
        vision_config=vision,
        mm_tokens_per_image=4,
        image_token_index=39,
        boi_token_index=38,
        eoi_token_index=37,
    )
    AutoModelForSequenceClassification.from_config(config).save_pretrained(tmp_path)
    tiny_tokenizer().save_pretrained(tmp_path)
    run = tiny_config("sequence-classification", tmp_path, ["q_proj"])
    prepared = prepare(run, data=given("sequence-classification"))
    rows = prepared.rows["train"]
    one, many = (prepared.evaluate(prepared.model, rows, size) for size in (1, 64))
    assert many == pytest.approx(one, rel=1e-5, abs=1e-5)


def test_a_model_that_reads_padding_everywhere_is_named(tmp_path: Path) -> None:
    said: list[str] = []
    _, prepared = start(tmp_path, "fnet", "sequence-classification", "right", said)
    assert not prepared.padding_hidden
    assert "FNetForSequenceClassification reads padding on both sides" in said[-1]
    assert "test rows are read one at a time" in said[-1]


@pytest.mark.parametrize(
    ("family", "side", "right"), [("bert", "left", "right"), ("xlnet", "right", "left")]
)
def test_the_saved_adapter_answers_alike_however_stock_tools_batch(
    family: str, side: str, right: str, tmp_path: Path
) -> None:
    said: list[str] = []
    run, prepared = start(tmp_path / "base", family, "sequence-classification", side, said)
    assert f"the tokenizer pads on the {side}, and" in said[-1]
    assert f"needs padding on the {right}" in said[-1]
    result = retrain(run, search(run, prepared=prepared).ranks, prepared=prepared)
    base, _ = load_model(run.model, prepared.task, seed=1)
    save_adapter(result, tmp_path / "adapter", "card", base=base)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "adapter")
    fresh = AutoModelForSequenceClassification.from_pretrained(tmp_path / "base", num_labels=3)
    with quiet_peft():
        model = PeftModel.from_pretrained(fresh, str(tmp_path / "adapter")).eval()
    texts = ["the cat", "the cat is very red and was quite here then"]
    with torch.no_grad():
        alone = model(**tokenizer(texts[:1], return_tensors="pt")).logits[0]
        beside = model(**tokenizer(texts, padding=True, return_tensors="pt")).logits[0]
    assert torch.allclose(alone, beside, atol=1e-5)


@pytest.mark.parametrize("side", ["right", "left"])
def test_a_tokenizer_for_writing_keeps_its_side(side: str, tmp_path: Path) -> None:
    _, prepared = start(tmp_path, "gpt2", "causal-lm", side)
    assert isinstance(prepared.tokenizer, PreTrainedTokenizerBase)
    assert prepared.tokenizer.padding_side == side


@pytest.mark.parametrize(
    ("family", "message"),
    [
        ("bert", "BertLMHeadModel sees the tokens to predict"),
        ("bart", "the loss of BartForCausalLM compares the prediction at a token with that token"),
    ],
)
def test_what_is_no_language_model_is_refused(family: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=message):
        start(tmp_path, family, "causal-lm", "right")
