"""Inputs with several references: kept on one side of a cut, gathered in the test rows."""

import json
from pathlib import Path
from typing import Any

import pytest
from datasets import DatasetDict

from autolora_meta.errors import InputError
from autolora_meta.finetuning.data import TEXT, DataOptions, load_rows
from autolora_meta.finetuning.data.roles import Role

ROLES = (TEXT, Role("target", "references", ("target", "references")))


def load(source: Path, **options: Any) -> DatasetDict:
    asked = DataOptions.model_validate({"source": str(source), **options})
    return load_rows(asked, ROLES, 0, group="text")


def meanings(first: int, last: int, of_each: int = 3) -> str:
    return "".join(
        f"name : {i} | food : rice||{i} serves rice , number {j} . \n"
        for i in range(first, last)
        for j in range(of_each)
    )


def test_meanings_and_their_references(tmp_path: Path) -> None:
    (tmp_path / "rows.txt").write_text(meanings(0, 30))
    rows = load(tmp_path / "rows.txt", train_rows=0.5, validation_rows=12)
    sides = {split: set(part["text"]) for split, part in rows.items()}
    assert sum(map(len, sides.values())) == len(set().union(*sides.values())) == 30
    assert len(rows["train"]) == 45 and len(rows["validation"]) == 12
    assert rows["train"].column_names == ["text", "target"]
    test = rows["test"]
    assert len(test) == 11 and len(set(test["text"])) == 11
    number = test[0]["text"].split()[2]
    said = [f"{number} serves rice , number {j} ." for j in range(3)]
    assert sorted(test[0]["references"]) == said
    assert test[0]["target"] == test[0]["references"][0]


def test_rows_asked_for_are_reached_with_whole_groups(tmp_path: Path) -> None:
    (tmp_path / "rows.txt").write_text(meanings(0, 30))
    rows = load(tmp_path / "rows.txt", train_rows=10)
    assert len(rows["train"]) == 12


def test_a_test_file_of_its_own_counts_inputs(tmp_path: Path) -> None:
    (tmp_path / "train.txt").write_text(meanings(0, 20))
    (tmp_path / "test.txt").write_text(meanings(20, 30))
    assert len(load(tmp_path)["test"]) == 10
    few = load(tmp_path, test_rows=4)["test"]
    assert len(few) == 4 and all(len(row["references"]) == 3 for row in few)
    (tmp_path / "test.txt").write_text(meanings(19, 30))
    with pytest.raises(InputError, match=r"1 texts stand in more than one.*name : 19"):
        load(tmp_path)
    rows = load(tmp_path, overlap="drop")
    assert len(rows["train"]) + len(rows["validation"]) == 57


def test_references_in_one_list(tmp_path: Path) -> None:
    lines = [{"text": f"input {i}", "references": [f"a {i}", " ", f"b {i}"]} for i in range(9)]
    lines.append({"text": "said of nothing", "references": []})
    (tmp_path / "rows.jsonl").write_text("\n".join(json.dumps(line) for line in lines))
    rows = load(tmp_path / "rows.jsonl")
    assert len(rows["train"]) == len(rows["validation"]) == 6
    assert sorted(rows["test"][0]["references"])[0][0] == "a"
    assert all(len(row["references"]) == 2 for row in rows["test"])


def test_a_group_of_the_persons_own_may_not_divide_an_input(tmp_path: Path) -> None:
    lines = [{"text": f"input {i // 3}", "target": f"t {i}", "by": f"{i % 4}"} for i in range(36)]
    (tmp_path / "rows.jsonl").write_text("\n".join(json.dumps(line) for line in lines))
    with pytest.raises(InputError, match=r"data\.group 'by' leaves \d+ texts on two sides"):
        load(tmp_path / "rows.jsonl", group="by")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("a||b\na | b\n", r"rows\.txt, line 2: `\|\|` stands 0 times; allowed is meaning"),
        ("a||b||c\n", r"rows\.txt, line 1: `\|\|` stands 2 times"),
        ("a|| \n||b\n", r"split train has no labels|no row of split 'train' has a text"),
    ],
)
def test_broken_lines(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "rows.txt").write_text(content)
    with pytest.raises(InputError, match=message):
        load(tmp_path / "rows.txt")
