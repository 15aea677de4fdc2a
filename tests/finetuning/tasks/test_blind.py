"""Arms that have learned nothing are told from others by their metrics."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from datasets import Dataset

from autolora_meta.finetuning.tasks.blind import blind_answer, blind_arms, blind_arms_words
from autolora_meta.finetuning.tasks.metrics import Evaluation, alike
from autolora_meta.finetuning.tasks.regression import Regression
from autolora_meta.finetuning.tasks.sequence_classification import SequenceClassification
from autolora_meta.finetuning.tasks.token_classification import TokenClassification


@pytest.mark.parametrize(
    ("metrics", "loss", "reason"),
    [
        ({"cross_entropy": 1.0, "accuracy": 0.6}, 1.1, None),
        ({"cross_entropy": 1.1, "accuracy": 0.4}, 1.1, "no better than the class shares"),
        ({"cross_entropy": 1.0, "matthews": 0.0}, 1.1, "Matthews correlation 0"),
        ({"cross_entropy": 1.0, "matthews": -0.1}, 1.1, "Matthews correlation 0"),
        ({"cross_entropy": 0.2}, 0.0, None),  # all test rows are of one class
        (
            Evaluation({"accuracy": 0.9}, "class 'no' for all 9 rows"),
            None,
            "class 'no' for all 9 rows",
        ),
        ({"mean_squared_error": 2.5, "pearson": 0.1}, 2.0, "no better than the mean"),
        ({"mean_squared_error": 1.5, "pearson": 0.0}, 2.0, "correlation 0"),
        ({"entity_f1": 0.0, "accuracy": 0.8}, 0.5, "no entity found"),
        ({"bleu": 0.0, "rouge_l": 0.0}, None, "nothing of the references"),
        ({"bleu": 0.0, "rouge_l": 0.1}, None, None),
        ({"perplexity": 30.0, "cross_entropy": 3.4}, None, None),
    ],
)
def test_metrics_that_an_answer_without_its_input_has_too(
    metrics: dict[str, float], loss: float | None, reason: str | None
) -> None:
    found = blind_answer(metrics, loss)
    assert found is None if reason is None else reason in (found or "")


def test_arms_with_one_reason_are_told_together() -> None:
    rows = [{"arm": arm, "blind_answer": None} for arm in ("a", "b", "c")]
    rows += [{"arm": arm, "blind_answer": "Matthews correlation 0"} for arm in ("a", "b")]
    (words,) = blind_arms_words(blind_arms(rows))
    assert words.startswith("Nothing was learned by a, b in 1 of 2 runs (Matthews correlation 0)")
    assert blind_arms_words(blind_arms(rows[:3])) == []


def test_one_answer_shows_nothing_where_all_rows_have_the_same_right_one() -> None:
    assert alike(["a", "a"], ["b", "b"], str) is None
    assert alike(["a", "b"], ["b", "a"], str) is None
    assert alike(["", ""], ["b", "a"], lambda text: text or "no text") == "no text for all 2 rows"


@pytest.mark.parametrize(
    ("logits", "said"),
    [([[0.1, 0.0], [0.2, 0.0], [0.3, 0.1]], "class 'no' for all 3 rows"), (np.eye(3, 2), None)],
)
def test_one_class_for_all_rows_is_read_from_the_answers(logits: Any, said: str | None) -> None:
    task = SequenceClassification(("no", "yes"), 8)
    found = task.measure(np.asarray(logits), np.array([0, 1, 0]))
    assert isinstance(found, Evaluation) and found.alike == said


@pytest.mark.parametrize(
    ("outputs", "said"),
    [([2.0, 2.0001, 2.0], "about 2 for all 3 rows"), ([1.9, 2.1, 2.4], None)],
)
def test_one_number_for_all_rows(outputs: list[float], said: str | None) -> None:
    found = Regression(8).measure(np.array(outputs)[:, None], np.array([1.0, 2.0, 4.0]))
    assert isinstance(found, Evaluation) and found.alike == said


def test_one_tag_for_all_words(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = Dataset.from_dict(
        {"labels": [[0, 1], [0, 0]], "words": [[0, 1]] * 2, "tags": [[0, 1], [0, 0]]}
    )
    batch = {"labels": torch.tensor([[0, 1], [0, 0]])}
    monkeypatch.setattr(
        "autolora_meta.finetuning.tasks.token_classification.batches", lambda *_: [batch]
    )
    monkeypatch.setattr(TokenClassification, "collator", lambda *_: None)

    class Model:
        device = "cpu"

        def __call__(self, **_: object) -> SimpleNamespace:
            return SimpleNamespace(logits=torch.tensor([1.0, 0.0]).expand(2, 2, 2))

    model: Any = Model()
    found = TokenClassification(("NOUN", "VERB"), 8).evaluate(model, rows, model, 2)
    assert found == {"accuracy": 0.75}
    assert isinstance(found, Evaluation) and found.alike == "tag 'NOUN' for all 4 words"
