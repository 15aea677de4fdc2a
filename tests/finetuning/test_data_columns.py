"""Which columns are read, and what is said of labels that cannot be learned."""

import json
from pathlib import Path
from typing import Any

import pytest
from datasets import ClassLabel, Dataset, DatasetDict, Features, Value

from autolora_meta.errors import InputError
from autolora_meta.finetuning.data import LABEL, TEXT, TEXT_PAIR, DataOptions, Given, load_rows
from autolora_meta.finetuning.data.roles import Role

ROLES = (TEXT, TEXT_PAIR, LABEL)
NUMBER = Role("label", "number", ("label", "score"))


def load(given: Given, roles: tuple[Role, ...] = ROLES, **options: Any) -> DatasetDict:
    return load_rows(DataOptions.model_validate(options), roles, 0, given=given)


def pairs(first: str, second: str, rows: int = 12) -> Dataset:
    columns = {
        first: [f"first {i}" for i in range(rows)],
        second: [f"second {i}" for i in range(rows)],
        "label": [i % 2 for i in range(rows)],
    }
    return Dataset.from_dict(columns)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("sentence1", "sentence2"),
        ("premise", "hypothesis"),
        ("question1", "question2"),
        ("question", "sentence"),
        ("text", "text_pair"),
    ],
)
def test_pairs_are_found_by_name(first: str, second: str) -> None:
    row = load(pairs(first, second))["train"][0]
    assert row["text"].startswith("first") and row["text_pair"].startswith("second")


def test_a_named_text_has_no_partner_but_the_one_that_is_named() -> None:
    rows = pairs("sentence1", "sentence2")
    assert "text_pair" not in load(rows, text="sentence1")["train"].column_names
    turned = load(rows, text="sentence2", text_pair="sentence1")["train"][0]
    assert turned["text"].startswith("second") and turned["text_pair"].startswith("first")


def test_what_is_read_and_what_is_not_is_said() -> None:
    said: list[str] = []
    rows = pairs("sentence1", "idx")
    load_rows(DataOptions(), ROLES, 0, say=said.append, given=rows)
    assert "columns read: text = sentence1, label = label" in said
    assert "columns not read: idx" in said


def test_a_column_for_a_role_that_the_task_does_not_have_is_refused() -> None:
    with pytest.raises(InputError, match=r"data\.tokens is 'words', and this task reads text, "):
        load(pairs("text", "text_pair"), tokens="words")


def test_a_split_without_the_column_is_named() -> None:
    splits = DatasetDict({"train": pairs("text", "pair"), "test": pairs("body", "pair")})
    with pytest.raises(InputError, match=r"data\.text: split 'test' has no column 'text'.*body"):
        load(splits)


def test_objects_are_read_as_files_are(tmp_path: Path) -> None:
    rows = pairs("text", "pair", 30)
    by_hand = load(rows)
    lines = "".join(json.dumps(row) + "\n" for row in rows.to_list())
    (tmp_path / "rows.jsonl").write_text(lines)
    read = load_rows(DataOptions(source=str(tmp_path / "rows.jsonl")), ROLES, 0)
    assert by_hand["train"].to_dict() == read["train"].to_dict()
    splits = load({"train": rows, "test": pairs("text", "pair", 2)}, overlap="drop")
    assert len(splits["test"]) == 2 and len(splits["train"]) + len(splits["validation"]) == 28
    with pytest.raises(InputError, match=r"data is a list; allowed are a datasets\.Dataset"):
        load([{"text": "x"}])  # type: ignore[arg-type]
    with pytest.raises(InputError, match="split 'train' is a list"):
        load({"train": []})  # type: ignore[dict-item]


def rows_of(labels: list[Any], start: int = 0) -> Dataset:
    texts = [f"text {start + i}" for i in range(len(labels))]
    return Dataset.from_dict({"text": texts, "label": labels})


@pytest.mark.parametrize(
    ("train", "test", "message"),
    [
        (
            ["a", "b"] * 6,
            ["a", "c"],
            r"split test, row 2: the class 'c' .* rows to train on \(a, b",
        ),
        (["a", "b"] * 6, ["a", None], r"split 'test' has 1 rows without a 'label'.*test, row 2"),
        (["0", "1", "0.5"] * 6, ["0"], r"split train, row 3: .*holds '0.5', not classes"),
        ([0.0, 1.0, 2.5] * 6, [0.0], r"split train, row 3: .*2.5, not classes.*regression"),
        ([["a"], ["b"]] * 6, [["a"]], r"split train, row 1: .*\['a'\], not classes"),
    ],
)
def test_labels_that_are_no_classes(train: list, test: list, message: str) -> None:
    with pytest.raises(InputError, match=message):
        load({"train": rows_of(train), "test": rows_of(test, 100)})


def test_declared_classes_keep_their_numbers() -> None:
    features = Features({"text": Value("string"), "label": ClassLabel(names=["z", "y", "x"])})

    def declared(labels: list[int], start: int = 0) -> Dataset:
        return Dataset.from_dict(rows_of(labels, start).to_dict(), features=features)  # type: ignore[arg-type]

    train, test = declared([0, 2] * 6), declared([2, 0], 100)
    found = load({"train": train, "test": test})
    assert found["train"].features["label"].names == ["z", "y", "x"]
    assert sorted(found["test"]["label"]) == [0, 2]
    with pytest.raises(InputError, match=r"split test, row 2: the class 'y' .* train on \(x, z"):
        load({"train": train, "test": declared([2, 1], 100)})
    with pytest.raises(InputError, match=r"split 'test' has 1 rows without a 'label'"):
        load({"train": train, "test": declared([2, -1], 100)})
    assert len(load({"train": train, "test": declared([-1, -1], 100)})["test"]) < 12
    turned = test.cast_column("label", ClassLabel(names=["x", "y", "z"]))
    with pytest.raises(InputError, match="has other names of classes in one split"):
        load({"train": train, "test": turned})


def test_classes_without_names_may_be_called_minus_one_and_one() -> None:
    found = load({"train": rows_of([-1, 1] * 6), "test": rows_of([1, -1], 100)})
    assert found["train"].features["label"].names == ["-1", "1"]
    signs = [-1 if label == 0 else 1 for label in found["test"]["label"]]
    assert signs == [1 if text == "text 100" else -1 for text in found["test"]["text"]]


def test_numbers_are_read_as_numbers() -> None:
    rows = Dataset.from_dict({"text": list("abcdef"), "score": ["1", "2.5", "0", "-3", "4", "5"]})
    found = load(rows, (TEXT, NUMBER))
    assert found["train"].features["label"] == Value("float64")
    values = sorted(value for part in found.values() for value in part["label"])
    assert values == [-3.0, 0.0, 1.0, 2.5, 4.0, 5.0]


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ("high", "split train, row 2: column 'label' holds 'high', not a number"),
        ("inf", "split train, row 2: column 'label' holds 'inf', not a number"),
        ("", "1 rows without a 'label': split train, row 2"),
        ("nan", "1 rows without a 'label': split train, row 2"),
        (None, "1 rows without a 'label': split train, row 2"),
    ],
)
def test_what_is_no_number_is_refused(bad: str | None, message: str) -> None:
    rows = Dataset.from_dict({"text": list("abc"), "label": ["1", bad, "2"]})
    with pytest.raises(InputError, match=message):
        load(rows, (TEXT, NUMBER))


def test_a_test_split_of_numbers_without_labels_is_left_out() -> None:
    splits = {"train": rows_of([0.5, 1.5] * 6), "test": rows_of([-1.0, -1.0], 100)}
    found = load(splits, (TEXT, NUMBER))
    assert {text for part in found.values() for text in part["text"]} == {
        f"text {i}" for i in range(12)
    }


def grouped_rows(groups: int = 20, of_each: int = 5) -> Dataset:
    count = groups * of_each
    columns = {
        "text": [f"text {i}" for i in range(count)],
        "label": [i % 2 for i in range(count)],
        "author": [f"author {i // of_each}" for i in range(count)],
    }
    return Dataset.from_dict(columns)


def test_rows_of_a_group_stay_on_one_side() -> None:
    options = {"group": "author", "validation_rows": 30, "test_rows": 23}
    found = load(grouped_rows(), **options)
    author = {f"text {i}": i // 5 for i in range(100)}
    sides = [{author[text] for text in part["text"]} for part in found.values()]
    assert sum(map(len, sides)) == len(set.union(*sides)) == 20
    assert (len(found["validation"]), len(found["test"]), len(found["train"])) == (30, 25, 45)
    assert found["train"].column_names == ["text", "label"]
    again = load(grouped_rows(), **options)
    assert all(found[split].to_dict() == again[split].to_dict() for split in found)


def test_groups_too_few_for_the_splits_are_refused() -> None:
    with pytest.raises(InputError, match="10 rows are in 2 groups, too few for one in each of"):
        load(grouped_rows(2), group="author")


def test_large_groups_leave_one_for_each_split() -> None:
    found = load(grouped_rows(4, 9), group="author")
    assert sorted(map(len, found.values())) == [9, 9, 18]


def test_a_group_of_the_test_rows_is_kept_out_of_the_others() -> None:
    rows = grouped_rows()
    splits = {"train": rows.select(range(93)), "test": rows.select(range(93, 100))}
    with pytest.raises(InputError, match=r"1 groups stand in more than one.*'author 18'"):
        load(splits, group="author")
    found = load(splits, group="author", overlap="drop")
    assert len(found["train"]) + len(found["validation"]) == 90
    assert len(found["test"]) == 7


def test_overlap_counts_test_rows_that_are_not_drawn() -> None:
    splits = {"train": rows_of(["a", "b"] * 20), "test": rows_of(["a", "b"] * 10, 30)}
    for drawn in (2, 20):
        found = load(splits, overlap="drop", test_rows=drawn)
        assert len(found["train"]) + len(found["validation"]) == 30
