"""Rows of a chat: which columns are read, and what the embedded ones hold."""

import json
from pathlib import Path
from typing import Any

import pytest
from datasets import Dataset, DatasetDict

from autolora_meta.errors import InputError
from autolora_meta.finetuning.data import DataOptions, load_rows, stdlib_chat
from autolora_meta.finetuning.data.conversation import Conversation
from autolora_meta.finetuning.tasks.causal_lm import CausalLM
from autolora_meta.finetuning.tasks.generation import Generation


def talk(i: int) -> list[dict[str, str]]:
    return [{"role": "user", "content": f"q {i}"}, {"role": "assistant", "content": f"a {i}"}]


def load(source: Path | Dataset, task: Any = CausalLM, **options: Any) -> DatasetDict:
    if isinstance(source, Path):
        options["source"] = str(source)
    given = source if isinstance(source, Dataset) else None
    asked = DataOptions.model_validate(options)
    return load_rows(asked, task.roles, 0, group=task.group, given=given, chat=task.chat)


def written(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return path


def said(rows: DatasetDict) -> list[str]:
    return sorted(str(Conversation.of(text)) for part in rows.values() for text in part["messages"])


def test_columns_and_groups_that_are_named(tmp_path: Path) -> None:
    rows = [{"talk": talk(i), "who": f"w{i % 4}", "text": "x"} for i in range(12)]
    found = load(written(tmp_path / "a.jsonl", rows), messages="talk", group="who")
    assert said(found) == sorted(f"user: q {i} | assistant: a {i}" for i in range(12))
    sides = [
        {text.split("q ")[1].split()[0] for text in said(DatasetDict(a=part))}
        for part in found.values()
    ]
    groups = [{int(number) % 4 for number in side} for side in sides]
    assert not groups[0] & groups[1] and not groups[0] & groups[2] and not groups[1] & groups[2]
    other = [{"instruction": f"i {i}", "context": "c", "response": f"r {i}"} for i in range(6)]
    path = written(tmp_path / "b.jsonl", other)
    found = load(path, instruction="instruction", input="context", output="response")
    assert "user: i 2\n\nc | assistant: r 2" in said(found)


def test_generation_keeps_reading_prompts_and_completions_that_are_texts(tmp_path: Path) -> None:
    rows = [{"prompt": f"p {i}", "completion": f"c {i}"} for i in range(9)]
    path = written(tmp_path / "a.jsonl", rows)
    for options in ({}, {"prompt": "prompt", "completion": "completion"}):
        found = load(path, Generation, **options)
        assert found["train"].column_names == ["text", "target"]
        assert all(row["text"][2:] == row["target"][2:] for row in found["train"])  # type: ignore[call-overload, index]
    plain = load(path)
    assert plain["train"].column_names == ["prompt", "completion"]
    rows = [{"prompt": talk(i)[:1], "completion": talk(i)[1:]} for i in range(9)]
    found = load(written(tmp_path / "b.jsonl", rows), Generation)
    assert found["train"].column_names == ["messages", "target"]


def test_answers_to_the_same_messages_are_references_of_one_row(tmp_path: Path) -> None:
    rows = [{"messages": [talk(i // 2)[0], talk(i)[1]]} for i in range(18)]
    found = load(written(tmp_path / "a.jsonl", rows), Generation)
    assert all(len(given) == 2 for given in found["test"]["references"])
    asked = [{*part["messages"]} for part in found.values()]
    assert sum(map(len, asked)) == len(set().union(*asked)) == 9


def test_rows_without_messages(tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = [{"messages": talk(i)} for i in range(9)]
    path = written(tmp_path / "a.jsonl", [*rows, {"messages": None}, {"messages": []}])
    with pytest.raises(InputError, match=r"1 rows without a 'messages'.*line 10"):
        load(path)
    assert len(said(load(path, missing="drop"))) == 9
    assert len(said(load(Dataset.from_list([*rows, rows[0]])))) == 9  # a repeat


def test_validation_rows_of_another_source(tmp_path: Path) -> None:
    first = written(tmp_path / "a.jsonl", [{"messages": talk(i)} for i in range(9)])
    swapped = [{"from": "human", "value": "other"}, {"from": "gpt", "value": "b"}]
    rows = [{"conversations": [swapped[0] | {"value": f"o {i}"}, swapped[1]]} for i in range(8)]
    other = written(tmp_path / "b.jsonl", rows)
    found = load(first, evaluation={"source": str(other)})
    assert all("q" in text for text in said(DatasetDict(a=found["train"])))
    assert all("o" in text for text in said(DatasetDict(a=found["test"])))


def test_questions_about_a_library(tmp_path: Path) -> None:
    package = tmp_path / "asyncio"
    package.mkdir()
    (package / "__init__.py").write_text('"""Not asked about here."""\n')
    (package / "tasks.py").write_text(
        'def gather():\n    """Run awaitables at once, e.g. two.  Return\n    results.\n\n'
        '    More."""\n'
        'class Task:\n    """A running coroutine."""\n    def cancel(self):\n'
        '        """Ask it to end."""\n    def _hidden(self):\n        """Not for all eyes."""\n'
        'def short():\n    """No."""\n'
    )
    (package / "_private.py").write_text('def f():\n    """Do a private thing."""\n')
    rows = stdlib_chat.load(tmp_path)["train"]
    talks = [[said["content"] for said in messages] for messages in rows["messages"]]
    assert talks == [
        ["What does asyncio.tasks.gather do?", "Run awaitables at once, e.g. two."],
        ["What is asyncio.tasks.Task?", "A running coroutine."],
        ["What does asyncio.tasks.Task.cancel do?", "Ask it to end."],
    ]
    with pytest.raises(InputError, match="found no docstrings"):
        stdlib_chat.load(package)
