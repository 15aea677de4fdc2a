"""Training rows of one source, validation and test rows of another."""

from pathlib import Path
from typing import Any

import pytest
from datasets import ClassLabel, Dataset, DatasetDict

from autolora_meta.errors import InputError
from autolora_meta.finetuning.data import LABEL, TEXT, DataOptions, load_rows
from autolora_meta.finetuning.data.shift import SHIFTED


def written(folder: Path, name: str, labels: str, first: int, head: str = "text,label") -> str:
    """Write a csv with a row for each letter, and return its path."""
    lines = [f"text {first + i},{label}" for i, label in enumerate(labels)]
    (folder / name).write_text("\n".join([head, *lines]) + "\n")
    return str(folder / name)


def load(
    source: str, evaluation: Any, seed: int = 0, given: Dataset | None = None, **options: Any
) -> tuple[DatasetDict, str]:
    said: list[str] = []
    asked = DataOptions.model_validate({"source": source, "evaluation": evaluation} | options)
    rows = load_rows(asked, (TEXT, LABEL), seed, say=said.append, given=given)
    return rows, "\n".join(said)


def numbers(rows: Dataset) -> set[int]:
    return {int(text.removeprefix("text ")) for text in rows["text"]}


def test_training_rows_come_from_one_source_and_the_others_from_the_other(tmp_path: Path) -> None:
    first = written(tmp_path, "train.csv", "ab" * 20, 0)
    other = written(tmp_path, "other.csv", "ba" * 15, 100, "sentence,class")
    rows, said = load(first, {"source": other})
    assert SHIFTED in said
    assert numbers(rows["train"]) == {*range(40)}
    assert len(rows["validation"]) == len(rows["test"]) == 15
    assert numbers(rows["validation"]) | numbers(rows["test"]) == {*range(100, 130)}
    names = rows["train"].features["label"].names
    for row in [row for part in rows.values() for row in part]:
        number = int(row["text"].removeprefix("text "))
        assert names[row["label"]] == ("ab" if number < 100 else "ba")[number % 2]


def test_test_rows_of_the_other_source_are_its_own_split(tmp_path: Path) -> None:
    first = written(tmp_path, "train.csv", "ab" * 20, 0)
    test = written(tmp_path, "test.csv", "ab" * 6, 200)
    paths = {"validation": written(tmp_path, "dev.csv", "ab" * 9, 100), "test": test}
    rows, _ = load(first, {"source": paths}, validation_rows=10)
    again, _ = load(first, {"source": paths}, seed=1, validation_rows=10)
    assert numbers(rows["test"]) == numbers(again["test"]) == {*range(200, 212)}
    assert len(rows["validation"]) == 10 and numbers(rows["validation"]) < {*range(100, 118)}
    assert numbers(rows["validation"]) != numbers(again["validation"])
    assert numbers(rows["train"]) == {*range(40)}


def test_classes_meet_by_name_where_the_sources_number_them_otherwise(tmp_path: Path) -> None:
    kinds = ClassLabel(names=["bad", "good"])
    given = Dataset.from_dict(
        {"text": [f"text {i}" for i in range(20)], "label": [i % 2 for i in range(20)]}
    ).cast_column("label", kinds)
    other = tmp_path / "other.csv"
    other.write_text("text,label\n" + "".join(f"text {i},good\n" for i in range(100, 120)))
    rows, said = load("unused", {"source": str(other)}, given=given)
    names = rows["train"].features["label"].names
    assert {names[label] for label in rows["test"]["label"]} == {"good"}
    assert all(
        names[row["label"]] == ("good" if int(row["text"][5:]) % 2 else "bad")  # type: ignore
        for row in rows["train"]
    )
    assert "data.evaluation has no rows of class bad" in said


def test_a_class_that_no_training_row_has_is_refused(tmp_path: Path) -> None:
    first = written(tmp_path, "train.csv", "ab" * 20, 0)
    other = written(tmp_path, "other.csv", "abc" * 10, 100)
    with pytest.raises(InputError, match=r"other\.csv, line 4: the class 'c' .* rows to train on"):
        load(first, {"source": other})
    rows, _ = load(first, {"source": other}, classes={"c": None})
    assert len(rows["validation"]) + len(rows["test"]) == 20


@pytest.mark.parametrize("how", ["refuse", "drop", "allow"])
def test_a_text_of_both_sources_is_treated_as_said(tmp_path: Path, how: str) -> None:
    first = written(tmp_path, "train.csv", "ab" * 20, 0)
    other = written(tmp_path, "other.csv", "ab" * 10, 36)
    if how == "refuse":
        with pytest.raises(InputError, match=r"4 texts .* train and validation or test: 'text 36'"):
            load(first, {"source": other}, overlap=how)
        return
    rows, said = load(first, {"source": other}, overlap=how)
    held = numbers(rows["validation"]) | numbers(rows["test"])
    assert held == {*range(36, 56)}
    assert numbers(rows["train"]) == {*range(36 if how == "drop" else 40)}
    assert ("4 rows whose text stands in the validation or test rows dropped" in said) == (
        how == "drop"
    )


def test_mistakes_name_the_keys_of_the_second_source(tmp_path: Path) -> None:
    first = written(tmp_path, "train.csv", "ab" * 20, 0)
    with pytest.raises(InputError, match=r"data\.evaluation\.source '.*' does not exist"):
        load(first, {"source": str(tmp_path / "none.csv")})
    with pytest.raises(InputError, match=r"data\.evaluation\.splits\.test: unknown split 'tst'"):
        load(first, {"source": first, "splits": {"test": "tst"}})
    lacking = tmp_path / "lacking.csv"
    lacking.write_text("text,stars\ntext 1,a\n")
    with pytest.raises(InputError, match=r"of data\.evaluation\.source: .*label is not given"):
        load(first, {"source": str(lacking)})
