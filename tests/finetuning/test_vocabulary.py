"""Checkpoints whose configuration, tokenizer or embedding do not fit each other or the task."""

import shutil
from pathlib import Path
from typing import Any

import pytest
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    GPT2Config,
    GPT2LMHeadModel,
    PreTrainedTokenizerBase,
)

from autolora_meta import prepare, retrain, search
from autolora_meta.errors import InputError
from tests.finetuning.tiny_task import tiny_config
from tests.tiny import tiny_csv, tiny_tokenizer

SIZE: dict[str, Any] = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}


def base(folder: Path, rows: int, **special: str | None) -> Path:
    """A decoder with so many rows in its embedding, and a tokenizer with other special tokens."""
    config = GPT2Config(vocab_size=rows, n_embd=16, n_layer=1, n_head=2, n_positions=64)
    GPT2LMHeadModel(config).save_pretrained(folder)
    tokenizer = tiny_tokenizer()
    for name, token in special.items():
        setattr(tokenizer, name, token)
    tokenizer.save_pretrained(folder)
    return folder


def prepared(folder: Path, tmp_path: Path, task: str = "causal-lm"):
    targets = ["c_attn"] if task == "causal-lm" else ["query"]
    config = tiny_config(task, folder, targets)
    source = str(tiny_csv(tmp_path / "rows.csv", 60))
    config = config.model_copy(update={"data": config.data.model_copy(update={"source": source})})
    return config, prepare(config)


@pytest.mark.parametrize("kind", ["regression", "multi_label_classification"])
def test_the_loss_is_that_of_the_task_whatever_the_checkpoint_was_for(kind: str, tmp_path: Path):
    folder = tmp_path / "base"
    config = BertConfig(vocab_size=50, intermediate_size=32, problem_type=kind, **SIZE)  # type: ignore[arg-type]
    BertForSequenceClassification(config).save_pretrained(folder)
    tiny_tokenizer().save_pretrained(folder)
    run, parts = prepared(folder, tmp_path, "sequence-classification")
    assert parts.model.config.problem_type == "single_label_classification"
    result = retrain(run, search(run, prepared=parts).ranks, prepared=parts)
    assert result.metrics.keys() >= {"cross_entropy", "accuracy"}


def test_a_padding_token_behind_the_end_of_the_embedding_is_replaced(tmp_path: Path) -> None:
    words = len(tiny_tokenizer())
    folder = base(tmp_path / "base", words, pad_token="<added>", eos_token="[SEP]")
    _, parts = prepared(folder, tmp_path)
    assert isinstance(parts.tokenizer, PreTrainedTokenizerBase)
    assert parts.tokenizer.pad_token == "[SEP]"
    assert parts.model.config.pad_token_id == parts.tokenizer.convert_tokens_to_ids("[SEP]")


def test_a_tokenizer_with_neither_padding_nor_end_pads_with_the_unknown_token(tmp_path: Path):
    folder = base(tmp_path / "base", 64, pad_token=None, eos_token=None)
    _, parts = prepared(folder, tmp_path)
    assert isinstance(parts.tokenizer, PreTrainedTokenizerBase)
    assert parts.tokenizer.pad_token == "[UNK]"


def test_without_any_token_for_padding_one_sentence_says_so(tmp_path: Path) -> None:
    folder = base(tmp_path / "base", 64, pad_token=None, eos_token=None, unk_token=None)
    with pytest.raises(InputError, match="has no padding token that the model holds"):
        prepared(folder, tmp_path)


def test_tokens_that_the_embedding_lacks_are_named_with_their_row(tmp_path: Path) -> None:
    folder = base(tmp_path / "base", 64)
    small = base(tmp_path / "small", 20)
    shutil.copy(folder / "tokenizer.json", small)
    with pytest.raises(InputError, match=r"row \d+ of train holds the token '\w+' with id \d+"):
        prepared(small, tmp_path)
