"""Scores of written texts, and what is said where their packages are missing."""

import math
from pathlib import Path

import pytest
from datasets import Dataset

from autolora_meta import RunConfig, prepare, retrain, search
from autolora_meta.allocators.replicate import Replicate
from autolora_meta.errors import InputError
from autolora_meta.finetuning.tasks import text_scores
from autolora_meta.finetuning.tasks.cider import cider_d
from autolora_meta.finetuning.tasks.generation import Generation
from autolora_meta.finetuning.tasks.options import GenerationOptions
from autolora_meta.pipeline.check import check
from autolora_meta.pipeline.prepare import refuse_unusable
from tests.finetuning.tasks.writers import generation_config, gpt2, rows, word_tokenizer


def test_scores_of_texts_that_are_right_and_of_none() -> None:
    references = [["the inn is a good place for food", "no hotel"], ["the pub serves cheap food"]]
    right = text_scores.scores([given[0] for given in references], references, meteor=False)
    assert right["bleu"] == pytest.approx(100.0)
    assert right["ter"] == 0.0 and right["rouge_l"] == 1.0
    assert right["cider"] == pytest.approx((10 + 10 / 2) / 2)  # a mean over references
    assert right["nist"] > 2.0
    none = text_scores.scores(["", ""], references, meteor=False)
    assert none["bleu"] == none["rouge_l"] == none["nist"] == none["cider"] == 0.0


def test_cider_by_hand() -> None:
    # Two inputs; `a` and `a b` stand in the references of both, and weigh nothing.
    texts, references = [["a", "b", "x"], ["a", "b"]], [[["a", "b", "x", "x"]], [["a", "b", "y"]]]
    # n = 1: g = (x: 1, b: 0) against (x: 2): clipped 1 * 2 / (1 * 2) = 1
    # n = 2: b x: 1 against (b x: 1, x x: 1): 1 / sqrt(2); n = 3: a b x against (a b x, b x x)
    # n = 4: nothing is written
    penalty = math.exp(-1 / (2 * 6**2))
    first = penalty * (1 + 2 / math.sqrt(2)) / 4
    assert cider_d(texts, references) == pytest.approx(10 * first / 2)


def test_meteor_is_left_out_where_wordnet_is_not_found(monkeypatch: pytest.MonkeyPatch) -> None:
    task = Generation(12, GenerationOptions(max_new_tokens=4))
    monkeypatch.setattr(text_scores, "wordnet_found", lambda: False)
    said: list[str] = []
    columns = {"text": ["name"], "target": ["pub"], "references": [["pub"]]}
    task.encode(Dataset.from_dict(columns), word_tokenizer(ends=False), said.append)
    assert "meteor" not in task.measured and "METEOR is not measured" in said[0]
    monkeypatch.setattr(text_scores, "wordnet_found", lambda: True)
    assert "meteor" in task.measured


def test_a_search_needs_no_packages_for_scores_and_a_run_says_before_the_work_which(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(text_scores, "find_spec", lambda name: None if name == "nltk" else object())
    monkeypatch.setattr(text_scores, "scores", lambda *_, **__: pytest.fail("scored"))
    rows()["train"].to_json(tmp_path / "rows.jsonl")
    base = generation_config(gpt2(tmp_path / "model"), ["c_attn"]).model_dump(mode="json")
    config = RunConfig.load(base, f"data.source={tmp_path / 'rows.jsonl'}")
    asking = RunConfig.load(config.model_dump(), "compare.metrics=[perplexity, bleu]")
    said: list[str] = []
    prepared = prepare(asking, say=said.append)
    assert "BLEU, NIST, ROUGE-L, TER, CIDEr-D, METEOR are not measured: nltk" in str(said)
    assert check(asking).names
    ranks = search(asking, prepared=prepared).ranks
    result = retrain(config, ranks, prepared=prepared)
    assert set(result.metrics) == set(prepared.task.compared) == {"perplexity"}
    for begin in (
        lambda: retrain(asking, ranks, prepared=prepared),
        lambda: check(asking, tested=True),
        lambda: refuse_unusable(asking, 0),
        lambda: Replicate(asking, 0).prepared,
    ):
        with pytest.raises(
            InputError, match=r"bleu cannot .*: nltk is not .*autolora-meta\[generation"
        ):
            begin()
