"""Generation: what the loss counts, what is written, and how it is judged."""

import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from datasets import Dataset
from transformers import (
    PreTrainedTokenizerBase,
    T5Config,
    T5ForConditionalGeneration,
)

from autolora_meta import RunConfig, prepare, retrain, search
from autolora_meta.allocators.grid import uniform_in, validation_score
from autolora_meta.allocators.replicate import Replicate
from autolora_meta.errors import InputError
from autolora_meta.exporting.adapter import save_adapter
from autolora_meta.finetuning.models import load_model
from autolora_meta.finetuning.prepare import Prepared
from autolora_meta.finetuning.tasks.causal_lm import CausalLM, token_metrics
from autolora_meta.finetuning.tasks.encoding import IGNORED
from autolora_meta.finetuning.tasks.generation import Generation
from autolora_meta.finetuning.tasks.options import GenerationOptions
from tests.finetuning.tasks.writers import (
    INPUTS,
    REFERENCES,
    generation_config,
    gpt2,
    rows,
    word_tokenizer,
)
from tests.finetuning.tiny_task import falls, tiny_config


def t5(folder: Path) -> Path:
    tokenizer = word_tokenizer(ends=True)
    config = T5Config(
        vocab_size=len(tokenizer),
        d_model=16,
        d_kv=8,
        d_ff=32,
        num_layers=2,
        num_heads=2,
        pad_token_id=0,
        eos_token_id=1,
        initializer_factor=1.0,
    )
    config.decoder_start_token_id = 0  # pyright: ignore[reportAttributeAccessIssue]
    T5ForConditionalGeneration(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


Made = tuple[RunConfig, Callable[[], Prepared]]


@pytest.fixture(scope="module", params=[(gpt2, ["c_attn"]), (t5, ["q", "v"])], ids=["gpt2", "t5"])
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Made:
    make, targets = request.param
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        config = generation_config(make(tmp_path_factory.mktemp("model")), targets)
    return config, lambda: prepare(config, data=rows())


def parts(prepared: Prepared) -> tuple[Generation, PreTrainedTokenizerBase]:
    assert isinstance(prepared.task, Generation)
    assert isinstance(prepared.tokenizer, PreTrainedTokenizerBase)
    return prepared.task, prepared.tokenizer


def test_the_loss_counts_the_completion_alone() -> None:
    tokenizer = word_tokenizer(ends=False)
    task = Generation(12, GenerationOptions(separator="<sep>", max_new_tokens=4))
    columns = {"text": ["name : pub", "name : a b c d e f g h"], "target": ["the pub", "is good"]}
    said: list[str] = []
    encoded = task.encode(Dataset.from_dict(columns), tokenizer, said.append)
    assert tokenizer.decode(encoded["input_ids"][0]) == "name : pub <sep> the pub </s>"
    assert encoded["labels"][0] == [IGNORED] * 4 + tokenizer("the pub </s>")["input_ids"]
    # The input gives way; separator and completion stay whole.
    assert str(tokenizer.decode(encoded["input_ids"][1])).endswith("<sep> is good </s>")
    assert len(encoded["input_ids"][1]) == 12
    assert said == ["1 of 2 texts are longer than 12 tokens: cut"]


def test_perplexity_is_that_of_every_token_that_counts(made: Made) -> None:
    _, start = made
    prepared = start()
    model, (task, tokenizer) = prepared.model, parts(prepared)
    test = prepared.rows["test"]
    nats, tokens = 0.0, 0
    for text, references in zip(test["text"], test["references"], strict=True):
        for reference in references:
            one = Dataset.from_dict({"text": [text], "target": [reference]})
            batch = task.collator(tokenizer)(task.encode(one, tokenizer).__getitems__([0]))
            log_p = model(**batch).logits.log_softmax(-1)[0]
            labels = batch["labels"][0]
            if not task.encoder_decoder:
                log_p, labels = log_p[:-1], labels[1:]
            counted = labels != IGNORED
            assert counted.sum() == len(reference.split()) + 1  # and the end
            nats -= log_p[counted].gather(1, labels[counted, None]).sum().item()
            tokens += int(counted.sum())
    metrics = task.evaluate(model, test, tokenizer, 3)
    assert metrics["perplexity"] == pytest.approx(math.exp(nats / tokens), rel=1e-4)
    assert set(metrics) == set(task.measured)


def test_a_batch_writes_what_each_input_alone_gets(made: Made) -> None:
    _, start = made
    prepared = start()
    task, tokenizer = parts(prepared)
    texts = ["name : pub", INPUTS[0], "name : a | food : cheap"]
    together = task.write(prepared.model, texts, tokenizer, 8)
    assert together == [task.write(prepared.model, [text], tokenizer, 1)[0] for text in texts]
    assert len(set(together)) > 1
    if not task.encoder_decoder:
        ids = tokenizer(f"{texts[0]} <sep>", return_tensors="pt")["input_ids"]
        for _ in range(6):  # greedy, by hand
            likeliest = prepared.model(ids).logits[:, -1:].argmax(-1)
            ids = torch.cat([ids, likeliest], 1)
        expected = ids[0, 4:].tolist()
        expected = expected[: expected.index(1)] if 1 in expected else expected
        assert together[0] == str(tokenizer.decode(expected, skip_special_tokens=True)).strip()


def test_from_inputs_to_an_adapter_that_writes(made: Made, tmp_path: Path) -> None:
    config, start = made
    prepared = start()
    result = retrain(config, search(config, prepared=prepared).ranks, prepared=prepared)
    assert falls(result)
    assert set(result.metrics) == set(prepared.task.measured)
    base, _ = load_model(config.model, prepared.task, 5)
    save_adapter(result, tmp_path / "adapter", "card", base=base)
    kind = "SEQ_2_SEQ_LM" if parts(prepared)[0].encoder_decoder else "CAUSAL_LM"
    assert result.model.peft_config["default"].task_type == kind


def test_rows_with_one_input_stay_together(made: Made) -> None:
    _, start = made
    prepared = start()
    test = prepared.rows["test"]
    given = dict(zip(INPUTS, REFERENCES, strict=True))
    assert {t: sorted(r) for t, r in zip(test["text"], test["references"], strict=True)} == {
        text: sorted(given[text]) for text in test["text"]
    }


def test_perplexity_past_the_largest_float_is_infinite(made: Made) -> None:
    prepared = made[1]()
    task, tokenizer = parts(prepared)

    class Lost(Generation):
        def loss(self, model: object, batch: object) -> torch.Tensor:
            return torch.tensor(1e3)

    lost, rows = Lost(task.max_length, task.options), prepared.rows["validation"]
    encoded = rows.remove_columns(["text", "references"])
    found = token_metrics(lost, prepared.model, encoded, task.collator(tokenizer), 4)
    assert found == {"perplexity": math.inf, "cross_entropy": 1000.0}


def test_every_split_can_be_judged_by_what_is_written(made: Made) -> None:
    config, start = made
    prepared = start()
    validation = prepared.rows["validation"]
    given = dict(zip(INPUTS, REFERENCES, strict=True))
    for text, (reference,) in zip(validation["text"], validation["references"], strict=True):
        assert reference in given[text]
    replicate = Replicate(RunConfig.load(config.model_dump(mode="json"), "retrain.steps=1"), 0)
    replicate.__dict__["prepared"] = prepared  # what the cached property holds once it is there
    assert validation_score(replicate, uniform_in(replicate, 1)) < 0  # perplexity, low is good


def test_texts_are_padded_on_the_right_whatever_the_tokenizer_does() -> None:
    tokenizer = word_tokenizer(ends=False)
    tokenizer.padding_side = "left"
    task = CausalLM(12)
    encoded = task.encode(Dataset.from_dict({"text": ["name : pub", "the inn is good"]}), tokenizer)
    batch = task.collator(tokenizer)(encoded.__getitems__([0, 1]))
    assert batch["attention_mask"].tolist() == [[1, 1, 1, 0], [1, 1, 1, 1]]
    assert batch["labels"][0].tolist() == [*tokenizer("name : pub")["input_ids"], IGNORED]
    assert tokenizer.padding_side == "left"  # for what is written


def test_texts_are_modelled_token_by_token(tmp_path: Path) -> None:
    config = tiny_config("causal-lm", gpt2(tmp_path / "model"), ["c_attn"])
    texts = [f"{text} {end}" for text in INPUTS for end in ("good", "bad", "is good")] + ["pub"]
    prepared = prepare(config, data=Dataset.from_dict({"text": texts}))
    assert isinstance(prepared.task, CausalLM)
    batch = prepared.collate(prepared.rows["train"].__getitems__([0, 1, 2]))
    ids, labels = batch["input_ids"], batch["labels"]
    assert torch.equal(ids[labels != IGNORED], labels[labels != IGNORED])
    assert torch.equal(labels == IGNORED, batch["attention_mask"] == 0)
    result = retrain(config, search(config, prepared=prepared).ranks, prepared=prepared)
    metrics = result.metrics
    assert metrics["perplexity"] == pytest.approx(math.exp(metrics["cross_entropy"]))
    said: list[str] = []
    one = Dataset.from_dict({"text": ["pub", "the pub"]})
    assert isinstance(prepared.tokenizer, PreTrainedTokenizerBase)
    assert len(prepared.task.encode(one, prepared.tokenizer, said.append)) == 1
    assert said == ["1 texts of a single token left out: nothing to predict"]


def test_generation_that_cannot_work_is_refused() -> None:
    options = generation_config(Path("m"), ["c_attn"]).task
    long = options.generation.model_copy(update={"max_new_tokens": 47})  # of 48 there are
    with pytest.raises(InputError, match=r"max_new_tokens = 47 leaves no room.* 48 tokens"):
        Generation(64, long).encode(rows()["train"], word_tokenizer(ends=False))
    endless = word_tokenizer(ends=False)
    endless.eos_token = None
    with pytest.raises(InputError, match="no token that ends a text"):
        Generation(12, options.generation).encode(rows()["train"], endless)
