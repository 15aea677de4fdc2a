"""Sequence classification: encoding, padding, loss, metrics."""

import math

import numpy as np
import pytest
from datasets import Dataset, DatasetDict
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from autolora_meta.finetuning.tasks import Task
from autolora_meta.finetuning.tasks.metrics import METRICS
from autolora_meta.finetuning.tasks.sequence_classification import SequenceClassification

PAIRS = Dataset.from_dict(
    {"text": ["the cat", "a dog is here now"], "text_pair": ["red", "blue"], "label": [0, 1]}
)


def test_pairs_are_encoded_and_what_is_cut_is_said(tokenizer: PreTrainedTokenizerBase) -> None:
    said: list[str] = []
    task = SequenceClassification(labels=("a", "b"), max_length=7)
    encoded = task.encode(PAIRS, tokenizer, say=said.append)
    assert said == ["1 of 2 texts are longer than 7 tokens: cut"]
    assert [len(ids) for ids in encoded["input_ids"]] == [6, 7]
    assert encoded["token_type_ids"][0] == [0, 0, 0, 0, 1, 1]
    assert encoded["labels"] == [0, 1]


def test_batches_are_padded_to_their_own_longest(
    encoded: DatasetDict, task: Task, tokenizer: PreTrainedTokenizerBase
) -> None:
    rows = encoded["train"].__getitems__([0, 1, 2])
    batch = task.collator(tokenizer)(rows)
    assert batch["input_ids"].shape == (3, max(len(row["input_ids"]) for row in rows))
    assert batch["labels"].tolist() == [row["labels"] for row in rows]


def test_loss_is_the_cross_entropy_of_the_batch(
    encoded: DatasetDict, task: Task, tokenizer: PreTrainedTokenizerBase, model: PreTrainedModel
) -> None:
    batch = task.collator(tokenizer)(encoded["test"].__getitems__(list(range(10))))
    logits = model(**batch).logits.detach().numpy()
    expected = task.metrics(logits, batch["labels"].numpy())["cross_entropy"]
    assert task.loss(model, batch).item() == pytest.approx(expected, rel=1e-5)


def test_metrics_by_hand() -> None:
    task = SequenceClassification(labels=("a", "b", "c"), max_length=8)
    logits = np.log(np.array([[0.5, 0.25, 0.25], [0.5, 0.25, 0.25], [0.1, 0.8, 0.1]])) + 3.0
    metrics = task.metrics(logits, np.array([0, 1, 1]))
    assert metrics["accuracy"] == pytest.approx(2 / 3)
    assert metrics["cross_entropy"] == pytest.approx(-math.log(0.5 * 0.25 * 0.8) / 3)
    assert metrics["macro_f1"] == pytest.approx((2 / 3 + 2 / 3 + 0) / 3)
    assert set(metrics) == set(METRICS)


def test_matthews_correlation_by_its_formula() -> None:
    task = SequenceClassification(labels=("no", "yes"), max_length=8)
    # tp = 3, tn = 2, fp = 1, fn = 1
    labels, predicted = np.array([1, 1, 1, 1, 0, 0, 0]), np.array([1, 1, 1, 0, 0, 0, 1])
    expected = (3 * 2 - 1 * 1) / math.sqrt(4 * 4 * 3 * 3)
    assert task.metrics(np.eye(2)[predicted], labels)["matthews"] == pytest.approx(expected)
    assert task.metrics(np.eye(2)[np.ones(7, int)], labels)["matthews"] == 0.0
