"""Token classification: tags laid on word pieces, entities counted whole."""

import math
from pathlib import Path

import pytest
from datasets import ClassLabel, Dataset, DatasetDict, Features, List, Value
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast

from autolora_meta import prepare, retrain, search
from autolora_meta.config.run import RunConfig
from autolora_meta.errors import InputError
from autolora_meta.finetuning.tasks import refuse_lacking, token_classification
from autolora_meta.finetuning.tasks.encoding import IGNORED
from autolora_meta.finetuning.tasks.token_classification import TokenClassification
from autolora_meta.pipeline.prepare import refuse_unusable
from tests.finetuning.tiny_task import falls, tiny_config
from tests.tiny import FILLING, TELLING

TAGS = ("O", "B-gene", "I-gene", "B-cell", "I-cell")
TASK = TokenClassification(TAGS, 8)


@pytest.fixture(scope="module")
def pieces() -> PreTrainedTokenizerFast:
    """A WordPiece tokenizer that cuts `kinase` in two and drops what is only a tab."""
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "the", "kin", "##ase", "cell", "of", "is"]
    tokenizer = Tokenizer(models.WordPiece({w: i for i, w in enumerate(words)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()  # type: ignore[assignment]
    tokenizer.post_processor = processors.TemplateProcessing(  # type: ignore[assignment]
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, unk_token="[UNK]", pad_token="[PAD]", model_max_length=64
    )


def sentences(*given: tuple[str, list[int]]) -> Dataset:
    columns = {"tokens": [words.split(" ") for words, _ in given], "tags": [t for _, t in given]}
    features = {"tokens": List(Value("string")), "tags": List(ClassLabel(names=list(TAGS)))}
    return Dataset.from_dict(columns, features=Features(features))


def test_a_tag_stands_at_the_first_piece_of_its_word(pieces: PreTrainedTokenizerFast) -> None:
    said: list[str] = []
    rows = sentences(
        ("the kinase is", [0, 1, 0]),
        ("the \t kinase", [0, 3, 1]),  # the tab has no piece
        ("kinase kinase kinase of the cell", [1, 2, 2, 0, 0, 3]),  # 11 pieces
    )
    encoded = TASK.encode(rows, pieces, said.append)
    _ = IGNORED
    assert encoded["labels"] == [
        [_, 0, 1, _, 0, _],
        [_, 0, 1, _, _],
        [_, 1, _, 2, _, 2, _, _],
    ]
    assert encoded["words"] == [[0, 1, 2], [0, 2], [0, 1, 2]]
    assert said == ["1 of 3 texts are longer than 8 tokens: cut"]
    shares = 3 / 8, 3 / 8, 2 / 8  # of tags 0, 1 and 2 among the words that are left
    assert TASK.blind_loss(encoded) == pytest.approx(-sum(s * math.log(s) for s in shares))
    batch = TASK.collator(pieces)(encoded.__getitems__([0, 1]))
    assert set(batch) == {"input_ids", "attention_mask", "labels"}
    assert batch["labels"].tolist() == [[_, 0, 1, _, 0, _], [_, 0, 1, _, _, _]]


def test_an_entity_counts_where_bounds_and_type_are_right() -> None:
    given = [[1, 2, 0, 3], [0, 1, 0]]  # three entities
    found = [[1, 2, 0, 1], [0, 1, 2]]  # one right; one of another type, one too long
    metrics = TASK.tag_metrics(found, given)
    assert metrics["accuracy"] == pytest.approx(5 / 7)
    for name in ("entity_precision", "entity_recall", "entity_f1"):
        assert metrics[name] == pytest.approx(1 / 3), name
    nothing = TASK.tag_metrics([[0, 0, 0, 0], [0, 0, 0]], given)
    assert nothing["entity_f1"] == nothing["entity_precision"] == 0.0


def test_tags_that_are_no_entities_are_measured_by_accuracy_alone() -> None:
    task = TokenClassification(("NOUN", "VERB"), 8)
    assert task.measured == task.compared == ("accuracy",)
    assert task.tag_metrics([[0, 1]], [[0, 0]]) == {"accuracy": 0.5}


def test_without_seqeval_entities_are_refused_before_the_work_and_accuracy_is_not(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(token_classification, "find_spec", lambda name: None)
    path = tmp_path / "rows.jsonl"
    rows = [{"tokens": ["the", str(i)], "ner_tags": ["O", "B-gene"]} for i in range(60)]
    Dataset.from_list(rows).to_json(path)
    config = tiny_config("token-classification", folder, ["query", "value"])
    asking = RunConfig.load(config.model_dump(mode="json"), f"data.source={path}")
    with pytest.raises(InputError, match=r"entity_f1 .* seqeval is .*\[token-classification\]"):
        refuse_unusable(asking, 0)  # reads no weights
    refuse_unusable(RunConfig.load(asking.model_dump(), "compare.metrics=[accuracy]"), 0)
    assert TASK.measured == ("accuracy",) and set(TASK.tag_metrics([[1]], [[0]])) == {"accuracy"}
    nouns = TokenClassification(("NOUN", "VERB"), 8)
    refuse_lacking(nouns, nouns.compared)


def test_from_sentences_to_an_adapter_that_counts_every_entity(folder: Path) -> None:
    texts = [
        ("the cat is red", [0, 1, 0, 0]),
        ("a dog was here", [0, 1, 0, 0]),
        ("the blue horse", [0, 3, 1]),
    ]
    fill = (*FILLING, *TELLING["number"])
    rows = [(f"{text} {a} {b}", [*tags, 0, 0]) for a in fill for b in fill for text, tags in texts]
    config = tiny_config("token-classification", folder, ["query", "value"])
    prepared = prepare(config, data=DatasetDict(train=sentences(*rows[:120])))
    assert prepared.task.labels == TAGS
    result = retrain(config, search(config, prepared=prepared).ranks, prepared=prepared)
    assert set(result.metrics) == set(prepared.task.measured)
    assert falls(result)
    assert isinstance(prepared.tokenizer, PreTrainedTokenizerBase)
    # What is cut off is not found: a sentence's entities count all the same.
    task = TokenClassification(TAGS, 4)
    cut = task.encode(sentences(("the now cat dog", [0, 0, 1, 3])), prepared.tokenizer)
    graphs: list[bool] = []
    hook = result.model.register_forward_hook(lambda *g: graphs.append(g[-1].logits.requires_grad))
    metrics = task.evaluate(result.model, cut, prepared.tokenizer, 8)  # type: ignore[arg-type]
    hook.remove()
    assert graphs == [False]  # measuring keeps no graph
    assert metrics["entity_recall"] == 0.0 and metrics["accuracy"] <= 0.5
