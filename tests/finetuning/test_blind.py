"""Arms that have learned nothing are told from others by their metrics."""

import pytest

from autolora_meta.finetuning.tasks.blind import blind_answer, blind_arms, blind_arms_words


@pytest.mark.parametrize(
    ("metrics", "loss", "reason"),
    [
        ({"cross_entropy": 1.0, "accuracy": 0.6}, 1.1, None),
        ({"cross_entropy": 1.1, "accuracy": 0.4}, 1.1, "no better than the class shares"),
        ({"cross_entropy": 1.0, "matthews": 0.0}, 1.1, "Matthews correlation 0"),
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
