"""Conversations: which tokens are learned, however the rows and the template are written."""

import copy
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from datasets import Dataset, DatasetDict
from torch.nn.functional import cross_entropy
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from autolora_meta.errors import InputError
from autolora_meta.finetuning.data import DataOptions
from autolora_meta.finetuning.data.conversation import Conversation
from autolora_meta.finetuning.models import ModelOptions
from autolora_meta.finetuning.prepare import prepare, task_and_rows
from autolora_meta.finetuning.tasks import TaskOptions
from autolora_meta.finetuning.tasks.encoding import IGNORED
from autolora_meta.finetuning.tasks.learned_tokens import learned, shown
from autolora_meta.finetuning.tasks.options import LossOn
from benchmarks.chat_base import END, PAD, TEMPLATE, tokenizer

UNMARKED = TEMPLATE.replace("{% generation %}", "").replace("{% endgeneration %}", "")
FORGETFUL = "{{ messages | length }}" + UNMARKED  # the beginning depends on what comes later
STRICT = "{% if messages[0].role == 'system' %}{{ raise_exception('no system') }}{% endif %}"
TALKS = [
    [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": f"What is {i} and {i}?"},
        {"role": "assistant", "content": f"It is {2 * i}."},
        {"role": "user", "content": "Is it?"},
        {"role": "assistant", "content": "Yes,  it is.\n"},
    ]
    for i in range(12)
]


@pytest.fixture(scope="module")
def words(tmp_path_factory: pytest.TempPathFactory) -> PreTrainedTokenizerFast:
    texts = [said["content"] for talk in TALKS for said in talk]
    return tokenizer(texts, tmp_path_factory.mktemp("words"))


@pytest.fixture(scope="module")
def model(words: PreTrainedTokenizerFast, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("llama")
    sizes: dict[str, Any] = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1}
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(words),
        num_attention_heads=2,
        max_position_embeddings=128,
        eos_token_id=words.get_vocab()[END],
        pad_token_id=words.get_vocab()[PAD],
        bos_token_id=None,
        initializer_range=0.3,
        **sizes,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    words.save_pretrained(folder)
    return folder


def talk(given: int = 0) -> Conversation:
    return Conversation(tuple(TALKS[3]), given)


def with_template(words: PreTrainedTokenizerFast, template: str) -> PreTrainedTokenizerFast:
    other = copy.copy(words)
    other.chat_template = template
    return other


def read(words: PreTrainedTokenizerFast, template: str, loss_on: LossOn, given: int = 0) -> str:
    words = with_template(words, template)
    ids, marks = learned(talk(given), words, loss_on)
    kept = [token if mark else IGNORED for token, mark in zip(ids, marks, strict=True)]
    return shown(ids, kept, words)


@pytest.mark.parametrize(
    ("loss_on", "given", "expected"),
    [
        ("assistant", 0, ["It is 6.<|end|>", "Yes,  it is.\\n<|end|>"]),
        ("completion", 0, ["Yes,  it is.\\n<|end|>"]),
        ("completion", 2, ["It is 6.<|end|>", "Yes,  it is.\\n<|end|>"]),
        ("completion", 4, ["Yes,  it is.\\n<|end|>"]),
    ],
)
def test_what_the_assistant_says_is_learned_whether_the_template_marks_it_or_not(
    words: PreTrainedTokenizerFast, loss_on: LossOn, given: int, expected: list[str]
) -> None:
    marked = read(words, TEMPLATE, loss_on, given)
    assert [part.split("]]")[0] for part in marked.split("[[")[1:]] == expected
    assert read(words, UNMARKED, loss_on, given) == marked
    ids, _ = learned(talk(), with_template(words, UNMARKED), loss_on)
    assert words.decode(ids) == marked.replace("[[", "").replace("]]", "").replace("\\n", "\n")


def test_all_tokens_are_learned_when_asked_for(words: PreTrainedTokenizerFast) -> None:
    for template in (TEMPLATE, UNMARKED, FORGETFUL):
        assert all(learned(talk(), with_template(words, template), "all")[1])


def test_a_template_that_hides_what_the_assistant_says_is_refused(
    words: PreTrainedTokenizerFast,
) -> None:
    with pytest.raises(InputError, match=r"before message 3 otherwise .* \{% generation %\}"):
        read(words, FORGETFUL, "assistant")
    marked = FORGETFUL.replace(UNMARKED, TEMPLATE)  # marks need no prefixes
    assert read(words, marked, "assistant").count("[[") == 2
    twice = TEMPLATE.replace(
        "{% endgeneration %}", "{% endgeneration %}!{% generation %}?{% endgeneration %}"
    )
    with pytest.raises(InputError, match="marks 4 stretches of a conversation with 2 messages"):
        read(words, twice, "completion")


def sharegpt(messages: list[dict[str, str]]) -> list[dict[str, str]]:
    names = {"user": "human", "assistant": "gpt", "system": "system"}
    return [{"from": names[said["role"]], "value": said["content"]} for said in messages]


def found(model: Path, rows: list[dict[str, Any]], **task: Any) -> tuple[DatasetDict, list[str]]:
    said: list[str] = []
    data = task.pop("data", {})
    prepared = prepare(
        ModelOptions(name=str(model)),
        DataOptions.model_validate(data),
        TaskOptions.model_validate({"type": "causal-lm", **task}),
        0,
        given=Dataset.from_list(rows),
        say=said.append,
    )
    return prepared.rows, said


def learned_texts(rows: DatasetDict, words: PreTrainedTokenizerFast) -> set[str]:
    parts = [labels for part in rows.values() for labels in part["labels"]]
    return {str(words.decode([token for token in row if token != IGNORED])) for row in parts}


def test_the_same_conversations_in_every_format_are_the_same_rows(
    model: Path, words: PreTrainedTokenizerFast
) -> None:
    same = {f"It is {2 * i}.<|end|>Yes,  it is.\n<|end|>" for i in range(12)}
    for rows in (
        [{"messages": one} for one in TALKS],
        [{"conversations": sharegpt(one)} for one in TALKS],
        [{"prompt": one[:2], "completion": one[2:]} for one in TALKS],
    ):
        encoded, said = found(model, rows)
        assert learned_texts(encoded, words) == same
        (example,) = [line for line in said if line.startswith("learned of the first")]
        assert "Be brief.<|end|><|user|>What is" in example and "[[It is " in example
    rows = [{"instruction": "Add.", "input": f"{i}, {i}", "output": f"{2 * i}"} for i in range(12)]
    encoded, said = found(model, [*rows, {"instruction": "Go.", "input": None, "output": "No."}])
    assert learned_texts(encoded, words) == {"No.<|end|>"} | {f"{2 * i}<|end|>" for i in range(12)}
    whole = {str(words.decode(ids)) for part in encoded.values() for ids in part["input_ids"]}
    assert "<|user|>Add.\n\n3, 3<|end|><|assistant|>6<|end|>" in whole
    assert "<|user|>Go.<|end|><|assistant|>No.<|end|>" in whole


def test_prompts_and_completions_as_texts_need_no_template(
    model: Path, words: PreTrainedTokenizerFast
) -> None:
    rows = [{"prompt": f"The {i} is", "completion": f" {i} it is"} for i in range(12)]
    encoded, _ = found(model, rows)
    assert learned_texts(encoded, words) == {f" {i} it is<|end|>" for i in range(12)}
    encoded, _ = found(model, rows, loss_on="all")
    assert "The 3 is 3 it is<|end|>" in learned_texts(encoded, words)


def test_rows_are_cut_on_the_side_that_is_asked_for_and_what_is_left_is_counted(
    model: Path, words: PreTrainedTokenizerFast
) -> None:
    rows = [{"messages": one} for one in TALKS]
    with pytest.raises(InputError, match=r"none of 4 rows .* left to learn within 8 tokens"):
        found(model, rows, max_length=8)
    encoded, _ = found(model, rows, max_length=8, truncation_side="left")
    assert all(len(ids) == 8 for part in encoded.values() for ids in part["input_ids"])
    assert all(text.endswith("it is.\n<|end|>") for text in learned_texts(encoded, words))
    short = [
        {"messages": [{"role": "user", "content": f"{i}"}, {"role": "assistant", "content": "a"}]}
        for i in range(20)
    ]
    encoded, said = found(model, rows + short, max_length=8)
    assert sum(int(line.split(" of ")[0]) for line in said if "left out: nothing" in line) == 12
    assert sum(map(len, encoded.values())) == 20


def test_perplexity_is_that_of_what_is_learned(model: Path) -> None:
    prepared = prepare(
        ModelOptions(name=str(model)),
        DataOptions(),
        TaskOptions(type="causal-lm"),
        0,
        given=Dataset.from_list([{"messages": one} for one in TALKS]),
    )
    losses = []
    for row in prepared.rows["test"]:
        ids, labels = torch.tensor(row["input_ids"]), torch.tensor(row["labels"])  # type: ignore[call-overload, index]
        with torch.no_grad():
            logits = prepared.model(input_ids=ids[None]).logits[0, :-1].double()
        kept = labels[1:] != IGNORED
        losses.append(cross_entropy(logits[kept], labels[1:][kept], reduction="none"))
    expected = torch.cat(losses).mean().item()
    for size in (1, 3):
        measured = prepared.evaluate(prepared.model, prepared.rows["test"], size)
        assert measured["cross_entropy"] == pytest.approx(expected, rel=1e-6)


def test_generation_writes_the_last_message_of_the_assistant(
    model: Path, words: PreTrainedTokenizerFast
) -> None:
    rows = [{"messages": one} for one in TALKS] + [{"messages": TALKS[0][:3]}]
    options = {"type": "generation", "generation": {"max_new_tokens": 4}}
    said: list[str] = []
    prepared = prepare(
        ModelOptions(name=str(model)),
        DataOptions(),
        TaskOptions.model_validate(options),
        0,
        given=Dataset.from_list(rows),
        say=said.append,
    )
    assert "rows with the same messages stay on one side of every cut" in said
    assert learned_texts(prepared.rows, words) == {"It is 0.<|end|>", "Yes,  it is.<|end|>"}
    asked = [row for part in prepared.rows.values() for row in part]
    assert {tuple(row["references"]) for row in asked} == {("It is 0.",), ("Yes,  it is.",)}
    metrics = prepared.evaluate(prepared.model, prepared.rows["test"], 4)
    assert metrics["perplexity"] > 1
    if "bleu" in prepared.task.measured:
        assert metrics["bleu"] >= 0
    (prompt,) = prepared.task._prompts([asked[0]["text"]], words)  # type: ignore[attr-defined]
    assert str(words.decode(prompt)).endswith("?<|end|><|assistant|>")
    short = prepare(
        ModelOptions(name=str(model)),
        DataOptions(),
        TaskOptions.model_validate(options | {"max_length": 16}),
        0,
        given=Dataset.from_list(rows),
    )
    kept = {str(words.decode(ids)) for part in short.rows.values() for ids in part["input_ids"]}
    assert all("<|assistant|>" in text and len(text) for text in kept)
    assert not any("Be brief" in text for text in kept)  # the oldest goes first


BAD: dict[str, tuple[Any, dict[str, Any], str]] = {
    "no turn of the assistant": (
        {"messages": TALKS[0][:2]},
        {},
        "4 of 4 train rows have no message of the assistant in their conversation",
    ),
    "none to write": (
        {"messages": TALKS[0][:2]},
        {"type": "generation"},
        r"row 1: column 'messages' has no message of the assistant.*roles there: system, user",
    ),
    "a completion of the user": (
        {"prompt": TALKS[0][:3], "completion": TALKS[0][1:2]},
        {},
        "no message of the assistant in their completion",
    ),
    "a text": ({"messages": "hello"}, {}, r"row 1: column 'messages' holds a str \(hello"),
    "no role": ({"messages": [{"content": "a"}]}, {}, "has no role in message 1"),
    "no content": ({"messages": [{"role": "user", "content": 3}]}, {}, r"holds a int \(3\) as the"),
    "a speaker": ({"conversations": [{"from": "robot", "value": "a"}]}, {}, "from 'robot'.*human"),
    "a call": (
        {"messages": [{"role": "assistant", "content": None, "tool_calls": [{"a": 1}]}]},
        {},
        "has tool_calls in message 1",
    ),
    "two formats": (
        {"messages": TALKS[0], "text": "a"},
        {},
        "2 formats; say which is read: data.text=text; data.messages=messages",
    ),
    "two formats named": (
        {"messages": TALKS[0], "text": "a"},
        {"data": {"text": "text", "messages": "messages"}},
        "data.text and data.messages name columns of rows of several formats",
    ),
    "text and messages": (
        {"prompt": TALKS[0][:1], "completion": "a"},
        {},
        "column 'completion' holds texts and 'prompt' messages",
    ),
    "loss on turns of texts": ({"text": "a b"}, {"loss_on": "assistant"}, "allowed is all, or"),
    "template of texts": ({"text": "a b"}, {"chat_template": STRICT}, "rows are plain texts"),
    "template lost": ({"messages": TALKS[0]}, {"chat_template": "x.jinja"}, "does not exist"),
    "roles refused": (
        {"messages": TALKS[0]},
        {"chat_template": STRICT},
        "roles system, user.*no sy",
    ),
    "template broken": ({"messages": TALKS[0]}, {"chat_template": "{% if %}"}, "refuses a conv"),
    "cut in front of the answer": (
        {"messages": TALKS[0]},
        {"type": "generation", "truncation_side": "right"},
        "would cut off what was asked last",
    ),
    "a task without conversations": (
        {"messages": TALKS[0], "text": "a", "label": "b"},
        {"type": "sequence-classification", "data": {"messages": "messages"}},
        "data.messages is 'messages', and this task reads text, text_pair, label",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_what_is_wrong_is_said_before_weights_are_read(case: str, model: Path) -> None:
    row, task, message = BAD[case]
    rows = [json.loads(json.dumps(row).replace("What is 0", f"What is {i}")) for i in range(12)]
    if "text" in row:
        rows = [one | {"text": f"a b {i}"} for i, one in enumerate(rows)]
    data = task.get("data", {})
    options = {"type": "causal-lm"} | {k: v for k, v in task.items() if k != "data"}
    with pytest.raises(InputError, match=message):
        task_and_rows(
            ModelOptions(name=str(model)),
            DataOptions.model_validate({**data, "overlap": "allow"}),
            TaskOptions.model_validate(options),
            0,
            given=Dataset.from_list(rows),
        )


def test_a_tokenizer_without_a_template_is_refused_and_takes_one(
    model: Path, words: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    for file in model.iterdir():
        if file.name != "chat_template.jinja":
            (tmp_path / file.name).write_bytes(file.read_bytes())
    rows = [{"messages": one} for one in TALKS]
    with pytest.raises(
        InputError, match=r"no chat template: give one with task.chat_template=FILE"
    ):
        found(tmp_path, rows)
    (tmp_path / "mine.jinja").write_text(UNMARKED)
    given, _ = found(tmp_path, rows, chat_template=str(tmp_path / "mine.jinja"))
    own, _ = found(model, rows)
    assert [part["labels"] for part in given.values()] == [part["labels"] for part in own.values()]
