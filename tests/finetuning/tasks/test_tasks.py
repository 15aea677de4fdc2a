"""Sequence classification, regression, pictures: encoding, padding, loss, metrics."""

import math
from pathlib import Path

import numpy as np
import pytest
from datasets import ClassLabel, Dataset, DatasetDict
from PIL.Image import fromarray
from scipy import stats
from sklearn.datasets import load_digits
from transformers import (
    PreTrainedModel,
    PreTrainedTokenizerBase,
    ViTConfig,
    ViTImageProcessor,
    ViTModel,
)

from autolora_meta import RunConfig, prepare, retrain, search
from autolora_meta.errors import InputError
from autolora_meta.finetuning.evaluation import by_length
from autolora_meta.finetuning.tasks import TASKS, Task, refuse_unmeasured, task_class
from autolora_meta.finetuning.tasks.metrics import METRICS
from autolora_meta.finetuning.tasks.regression import Regression, number_metrics
from autolora_meta.finetuning.tasks.sequence_classification import (
    SequenceClassification,
    class_metrics,
)
from tests.finetuning.tiny_task import falls, tiny_config

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


def test_test_rows_of_like_length_stand_side_by_side(encoded: DatasetDict) -> None:
    lengths = [len(ids) for ids in by_length(encoded["test"])["input_ids"]]
    assert lengths == sorted(len(ids) for ids in encoded["test"]["input_ids"])


@pytest.mark.parametrize("batch_size", [7, 1000])
def test_what_is_measured_is_the_loss_of_all_rows(
    encoded: DatasetDict,
    task: Task,
    tokenizer: PreTrainedTokenizerBase,
    model: PreTrainedModel,
    batch_size: int,
) -> None:
    rows = encoded["test"]
    batch = task.collator(tokenizer)(rows.__getitems__(list(range(len(rows)))))
    metrics = task.evaluate(model, rows, tokenizer, batch_size)
    assert metrics["cross_entropy"] == pytest.approx(task.loss(model, batch).item(), rel=1e-5)
    assert set(metrics) == set(task.measured)


def test_a_blind_answer_of_classes_has_the_loss_of_their_frequencies(
    encoded: DatasetDict, task: Task
) -> None:
    labels = np.array(encoded["test"]["labels"])
    shares = np.bincount(labels) / len(labels)
    logits = np.broadcast_to(np.log(shares), (len(labels), len(shares)))
    blind = task.blind_loss(encoded["test"])
    assert blind == pytest.approx(class_metrics(logits, labels, len(shares))["cross_entropy"])


def test_class_metrics_by_hand() -> None:
    logits = np.log(np.array([[0.5, 0.25, 0.25], [0.5, 0.25, 0.25], [0.1, 0.8, 0.1]])) + 3.0
    metrics = class_metrics(logits, np.array([0, 1, 1]), 3)
    assert metrics["accuracy"] == pytest.approx(2 / 3)
    assert metrics["cross_entropy"] == pytest.approx(-math.log(0.5 * 0.25 * 0.8) / 3)
    assert metrics["macro_f1"] == pytest.approx((2 / 3 + 2 / 3 + 0) / 3)
    assert "f1" not in metrics  # which class would it be of?


def test_matthews_correlation_and_f1_by_their_formulas() -> None:
    # tp = 3, tn = 2, fp = 1, fn = 1
    labels, predicted = np.array([1, 1, 1, 1, 0, 0, 0]), np.array([1, 1, 1, 0, 0, 0, 1])
    metrics = class_metrics(np.eye(2)[predicted], labels, 2)
    assert metrics["matthews"] == pytest.approx((3 * 2 - 1 * 1) / math.sqrt(4 * 4 * 3 * 3))
    assert metrics["f1"] == pytest.approx(2 * 3 / (2 * 3 + 1 + 1))
    assert class_metrics(np.eye(2)[np.ones(7, int)], labels, 2)["matthews"] == 0.0


@pytest.mark.parametrize(
    ("dataset", "metrics"),
    [
        (None, ("cross_entropy", "accuracy")),
        ("cola", ("matthews", "cross_entropy")),
        ("mrpc", ("f1", "accuracy", "cross_entropy")),
        ("rte", ("accuracy", "cross_entropy")),
    ],
)
def test_a_task_of_glue_is_compared_by_what_glue_scores_it_by(
    dataset: str | None, metrics: tuple[str, ...]
) -> None:
    assert SequenceClassification(("no", "yes"), 8, dataset).compared == metrics


def test_every_metric_of_every_task_can_be_read() -> None:
    for task in TASKS.values():
        assert all(METRICS[name] is metric for name, metric in task.measures.items())


def test_a_metric_that_these_rows_do_not_have_is_refused_before_any_work() -> None:
    task = SequenceClassification(("a", "b", "c"), 8)
    with pytest.raises(InputError, match=r"compare\.metrics names f1.*measured: cross_entropy"):
        refuse_unmeasured(task, ["accuracy", "f1"])


def test_metrics_of_numbers_are_those_of_scipy() -> None:
    generator = np.random.default_rng(0)
    predicted = generator.normal(size=40)
    labels = np.round(predicted + generator.normal(size=40))  # with ties
    metrics = number_metrics(predicted, labels)
    assert metrics["pearson"] == pytest.approx(stats.pearsonr(predicted, labels).statistic)
    assert metrics["spearman"] == pytest.approx(stats.spearmanr(predicted, labels).statistic)
    assert metrics["mean_squared_error"] == pytest.approx(np.mean((predicted - labels) ** 2))
    assert number_metrics(np.ones(3), np.arange(3.0))["pearson"] == 0.0


def test_regression_minimises_squares(
    folder: Path, tokenizer: PreTrainedTokenizerBase, rows: DatasetDict
) -> None:
    numbers = {
        split: part.remove_columns("label").add_column(
            "score", [float(len(text)) / 10 for text in part["text"]]
        )
        for split, part in rows.items()
    }
    config = tiny_config("regression", folder, ["query"])
    prepared = prepare(config, data=DatasetDict(numbers))
    assert isinstance(prepared.task, Regression) and prepared.task.compared[0] == "pearson"
    batch = prepared.collate(prepared.rows["test"].__getitems__([0, 1, 2]))
    squares = (prepared.model(**batch).logits[:, 0] - batch["labels"]) ** 2
    assert prepared.task.loss(prepared.model, batch).item() == pytest.approx(squares.mean().item())
    numbers = np.array(prepared.rows["test"]["labels"])
    assert prepared.task.blind_loss(prepared.rows["test"]) == pytest.approx(
        np.mean((numbers.mean() - numbers) ** 2)
    )
    result = retrain(config, search(config, prepared=prepared).ranks, prepared=prepared)
    assert set(result.metrics) == set(prepared.task.measured)
    assert falls(result)


def test_pictures_are_classified(tmp_path: Path) -> None:
    digits = load_digits(n_class=3)
    pictures = [fromarray((image * 15).astype(np.uint8)) for image in digits.images[:90]]
    columns = {"image": pictures, "label": digits.target[:90].tolist()}
    data = Dataset.from_dict(columns).cast_column("label", ClassLabel(names=["0", "1", "2"]))
    size = {"height": 8, "width": 8}
    ViTModel(
        ViTConfig(
            image_size=8,
            patch_size=4,
            hidden_size=16,
            num_hidden_layers=1,
            num_attention_heads=2,
            intermediate_size=32,
        )
    ).save_pretrained(tmp_path)
    ViTImageProcessor(size=size, image_mean=[0.5] * 3, image_std=[0.5] * 3).save_pretrained(
        tmp_path
    )
    config = tiny_config("image-classification", tmp_path, ["q_proj", "v_proj"])
    prepared = prepare(config, data=data)
    assert prepared.task.labels == ("0", "1", "2")
    batch = prepared.collate(prepared.rows["train"].__getitems__([0, 1]))
    assert batch["pixel_values"].shape == (2, 3, 8, 8)
    assert -1.0 <= batch["pixel_values"].min() < batch["pixel_values"].max() <= 1.0
    assert prepared.task.blind_loss(prepared.rows["train"]) == pytest.approx(math.log(3), rel=0.05)
    ranks = search(config, prepared=prepared).ranks
    grouped = RunConfig.load(config.model_dump(mode="json"), "retrain.group_by_length=true")
    with pytest.raises(InputError, match="group_by_length is for texts"):
        retrain(grouped, ranks, prepared=prepared)
    assert set(retrain(config, ranks, prepared=prepared).metrics) == set(prepared.task.measured)


def test_an_unknown_task_is_answered_with_the_choices() -> None:
    with pytest.raises(InputError, match="did you mean 'generation'"):
        task_class("generatoin")
    with pytest.raises(InputError, match=r"task: unknown task 'generatoin'"):
        RunConfig.load("quickstart", "task.type=generatoin")
    with pytest.raises(InputError, match=r"names bleu, which task\.type.*measured: cross_entropy"):
        RunConfig.load("quickstart", "compare.metrics=[bleu]")
