"""Labels as people write them: cleaned, counted and said, or refused with their place."""

from pathlib import Path
from typing import Any

import pytest
from datasets import ClassLabel, Dataset, DatasetDict, Features, Image, Value
from PIL import Image as Pillow

from autolora_meta.errors import InputError
from autolora_meta.finetuning.data import LABEL, TEXT, DataOptions, Given, load_rows
from autolora_meta.finetuning.data.roles import Role

ROLES = (TEXT, LABEL)


def load(given: Given, roles: tuple[Role, ...] = ROLES, **options: Any) -> tuple[DatasetDict, str]:
    """Rows, and what was said while they were read."""
    said: list[str] = []
    asked = DataOptions.model_validate(options)
    return load_rows(asked, roles, 0, say=said.append, given=given), "\n".join(said)


def rows_of(labels: list[Any], first: int = 0) -> Dataset:
    texts = [f"text {first + i}" for i in range(len(labels))]
    return Dataset.from_dict({"text": texts, "label": labels})


def named(rows: DatasetDict) -> dict[str, str]:
    """The name of the class of every text."""
    names = rows["train"].features["label"].names
    return {r["text"]: names[r["label"]] for part in rows.values() for r in part}


def test_white_space_around_labels_is_no_part_of_them() -> None:
    rows, _ = load(rows_of(["neg", "neg ", " pos", "pos\t"] * 4))
    assert rows["train"].features["label"].names == ["neg", "pos"]
    assert named(rows)["text 1"] == "neg" and named(rows)["text 2"] == "pos"


@pytest.mark.parametrize(
    ("labels", "alike"),
    [
        (["pos", "Pos", "neg"], "'Pos', 'pos'"),
        (["1", "01", "2"], "'01', '1'"),
        (["1", "1.0", "2"], "'1', '1.0'"),
        (["very good", "very  good", "bad"], "'very  good', 'very good'"),
        (["pos", "pos\u200b", "neg"], "'pos', 'pos\u200b'"),
    ],
)
def test_classes_that_look_like_one_are_named(labels: list[str], alike: str) -> None:
    rows, said = load(rows_of(labels * 6))
    assert f"warning: {alike} are 2 classes that look like one" in said
    assert len(rows["train"].features["label"].names) == 3
    first, last = alike.replace("'", "").split(", ")
    merged, said = load(rows_of(labels * 6), classes={first: last})
    assert len(merged["train"].features["label"].names) == 2 and "look like" not in said


def test_classes_that_may_say_that_there_is_none_are_named() -> None:
    _, said = load(rows_of(["None", "null", "a"] * 6))
    assert "warning: 'None' is taken for the name of a class" in said and "'null' is tak" in said


def test_white_space_and_case_of_tags() -> None:
    roles = (Role("tokens", "tokens", ("tokens",)), Role("tags", "tags", ("tags",)))
    columns = {"tokens": [[f"w{i}", "b"] for i in range(9)], "tags": [["NN ", "nn"]] * 9}
    rows, said = load(Dataset.from_dict(columns), roles)
    assert rows["train"].features["tags"].feature.names == ["NN", "nn"]
    assert "warning: 'NN', 'nn' are 2 tags that look like one; if they are one, mend" in said
    with pytest.raises(InputError, match=r"about classes of rows, and this task has none"):
        load(Dataset.from_dict(columns), roles, rare="drop")


@pytest.mark.parametrize(("train", "test"), [("pos", "Pos"), ("1", "1.0")])
def test_a_class_of_test_rows_that_looks_like_one_of_the_others(train: str, test: str) -> None:
    given = {"train": rows_of([train, "0"] * 6), "test": rows_of([test, "0"], 100)}
    with pytest.raises(InputError, match=f"none of .* if it is '{train}', say so: data.classes: "):
        load(given)
    rows, _ = load(given, classes={test: train})
    assert named(rows)["text 100"] == train


def test_classes_and_their_rows_are_said() -> None:
    _, said = load(rows_of(["a", "b", "a"] * 6), train_rows=6, validation_rows=6)
    expected = "2 classes, rows of each (train, validation, test): a 4, 4, 4; b 2, 2, 2"
    assert said.splitlines()[-1] == expected


@pytest.mark.parametrize("missing", [None, float("nan")])
def test_missing_labels_are_refused_with_their_rows_or_dropped(missing: float | None) -> None:
    given = rows_of([0.0, 1.0, missing] * 6)
    with pytest.raises(InputError, match="6 rows without a 'label': split train, rows 3, 6, 9, "):
        load(given)
    rows, said = load(given, missing="drop")
    assert rows["train"].features["label"].names == ["0", "1"] and len(named(rows)) == 12
    assert "6 rows without a 'label', which are dropped: split train, rows 3, 6" in said


@pytest.mark.parametrize("missing", ["", "  ", "nan", "NaN", "<NA>"])
def test_empty_fields_are_missing_labels(missing: str) -> None:
    with pytest.raises(InputError, match="1 rows without a 'label': split train, row 7"):
        load(rows_of([*"ababab", missing]))


def test_missing_texts_are_refused_or_dropped() -> None:
    for missing, feature in ((None, Value("string")), (float("nan"), Value("float64"))):
        texts = [None if i == 4 else i for i in range(12)]
        texts[4] = missing  # type: ignore[call-overload]
        columns = {"text": texts, "label": list("ab" * 6)}
        given = Dataset.from_dict(columns).cast_column("text", feature)
        with pytest.raises(InputError, match="1 rows without a 'text': split train, row 5"):
            load(given)
        assert len(named(load(given, missing="drop")[0])) == 11


def test_texts_that_may_be_missing_are_named() -> None:
    columns = {"text": [*(f"text {i}" for i in range(11)), "nan"], "label": [*"ab" * 6]}
    _, said = load(Dataset.from_dict(columns))
    assert "warning: 1 rows of split 'train' have a 'text' such as 'nan', which is read as" in said


def test_rows_keep_their_place_when_others_are_dropped() -> None:
    given = {"train": rows_of([*"ab" * 6, None, "a"]), "test": rows_of([None, "a", "c"], 100)}
    with pytest.raises(InputError, match="split test, row 3: the class 'c'"):
        load(given, missing="drop")


def test_repeats_whose_labels_disagree_are_counted_and_the_first_stays() -> None:
    columns = {
        "text": [*(f"text {i}" for i in range(12)), "text 0", "text 1", "text 2"],
        "label": [*"ab" * 6, "b", "a", "a"],
    }
    rows, said = load(Dataset.from_dict(columns))
    assert "3 rows that repeat the text of an earlier row dropped" in said
    assert "warning: 2 texts have several labels; the label of the first row counts" in said
    assert "'text 0' (a, b: split train, rows 1, 13); 'text 1' (b, a: split train, r" in said
    assert (named(rows)["text 0"], named(rows)["text 1"]) == ("a", "b")
    _, said = load(Dataset.from_dict(columns), overlap="allow")
    assert "2 texts have several labels; all of these rows stay" in said


def test_numbers_of_repeats_may_disagree_too() -> None:
    columns = {"text": [*"abcdef", "a"], "label": [*range(6), 9]}
    number = Role("label", "number", ("label",))
    _, said = load(Dataset.from_dict(columns), (TEXT, number))
    assert "1 texts have several labels; the label of the first row counts: 'a' (0.0, 9.0: " in said


def test_a_class_that_loses_all_its_rows_is_refused() -> None:
    columns = {"text": [*(f"text {i}" for i in range(12)), "text 0"], "label": [*"ab" * 6, "c"]}
    given = Dataset.from_dict(columns)
    with pytest.raises(
        InputError, match=r"class c has no rows left: .* \(split train, row 13\); .*{c: null}"
    ):
        load(given)
    rows, said = load(given, rare="drop")
    assert rows["train"].features["label"].names == ["a", "b"]
    assert "classes with fewer than 3 rows dropped: c (0)" in said
    test = rows_of(["a", "b", "d"], 12)
    splits = {"train": rows_of([*"ab" * 6, "a", "a", "d"]), "test": test}
    with pytest.raises(InputError, match="class d has no rows left"):
        load(splits, overlap="drop")


def test_rare_classes_are_dropped_or_merged() -> None:
    train, test = rows_of([*"ab" * 6, "c", "d", "d"]), rows_of([*"abcde"], 100)
    given = {"train": train, "test": test}
    with pytest.raises(InputError, match=r"class 'e' .* in none of the rows to train on"):
        load(given)
    rows, said = load(given, rare="drop")
    assert "classes with fewer than 2 rows dropped: c (1), e (0)" in said
    assert rows["train"].features["label"].names == ["a", "b", "d"]
    assert sorted(named(rows).values()) == sorted([*"ab" * 6, *"dd", *"abd"])
    rows, said = load(given, rare="merge", rare_below=3)
    assert rows["test"].features["label"].names == ["a", "b", "other"]
    assert [named(rows)[f"text {i}"] for i in (12, 14, 102, 104)] == ["other"] * 4
    with pytest.raises(InputError, match=r"merge gives class 'other' 3 rows .* and it needs 4"):
        load(given, rare="merge", rare_below=4)
    with pytest.raises(InputError, match=r"'d' has 2 rows, too few \(split train, rows 14, 15\)"):
        load({"train": train}, rare_below=3)
    with pytest.raises(
        InputError, match=r"'c' has 1 rows, too few \(split train, row 13\); class 'd' "
    ):
        load({"train": train})


def test_rare_classes_of_pictures(tmp_path: Path) -> None:
    shown = [Pillow.new("L", (2, 2), i) for i in range(9)]
    columns = {"image": shown, "label": [*"aaaabbbbc"]}
    given = Dataset.from_dict(columns).cast_column("image", Image())
    rows, _ = load(given, (Role("image", "image", ("image",)), LABEL), rare="drop")
    found = {r["image"].getpixel((0, 0)): r["label"] for part in rows.values() for r in part}
    assert found == {i: int(i > 3) for i in range(8)}


def test_a_class_is_left_out_by_name() -> None:
    rows, said = load(rows_of(["a", "b", "?"] * 6), classes={"?": None})
    assert set(named(rows).values()) == {"a", "b"} and len(named(rows)) == 12
    assert "data.classes: 6 rows of class '?' dropped" in said and "empty" not in said
    with pytest.raises(InputError, match=r"data.classes: unknown class 'A'; allowed: a, b"):
        load(rows_of(["a", "b"] * 6), classes={"A": "a"})
    spaced = Features({"text": Value("string"), "label": ClassLabel(names=["z", "z ", "x"])})
    given = Dataset.from_dict(rows_of([0, 1, 2] * 6).to_dict(), features=spaced)  # type: ignore[arg-type]
    assert load(given)[0]["train"].features["label"].names == ["z", "x"]
    declared = Features({"text": Value("string"), "label": ClassLabel(names=["z", "y", "x"])})
    given = Dataset.from_dict(rows_of([0, 1, 2] * 6).to_dict(), features=declared)  # type: ignore[arg-type]
    rows, _ = load(given, classes={"x": "z"})
    assert rows["train"].features["label"].names == ["z", "y"]
    assert named(rows)["text 2"] == "z"


@pytest.mark.parametrize("label", [True, 1, 1.0, "1"])
def test_classes_of_every_type(label: Any) -> None:
    rows, _ = load(rows_of([type(label)(0), label] * 6))
    assert named(rows)["text 1"] == ("True" if label is True else "1")
    large, _ = load(rows_of([1234567.0, 1234568.0] * 6))
    assert named(large)["text 0"] == "1234567"
    with pytest.raises(InputError, match="row 1: column 'label' holds inf, not classes"):
        load(rows_of([float("inf"), 1.0] * 6))


@pytest.mark.parametrize("form", ["torch", "numpy", "pandas", "arrow"])
def test_formatted_datasets_are_read_like_plain_ones(form: str) -> None:
    plain = rows_of([0, 1] * 6)
    expected, _ = load(plain)
    for given in (plain.with_format(form), plain.with_format(form, columns=["label"])):
        found, _ = load(given)
        assert found["train"].to_dict() == expected["train"].to_dict()
    given = DatasetDict(train=plain).with_format(form)
    assert load(given)[0]["test"].to_dict() == expected["test"].to_dict()


def test_datasets_that_are_no_tables_are_refused() -> None:
    rows = rows_of([0, 1] * 6)
    stream: Any = rows.to_iterable_dataset()
    for given in (stream, {"train": stream}):
        with pytest.raises(InputError, match=r"IterableDataset; allowed .*from_list\(list\(rows\)"):
            load(given)
    frame: Any = rows.to_pandas()
    with pytest.raises(InputError, match=r"DataFrame; allowed .*Dataset\.from_pandas"):
        load(frame)
    rows.set_transform(lambda batch: {"text": batch["text"]})
    with pytest.raises(InputError, match="split 'train' has a transform"):
        load(rows)


def test_labels_are_made_wrong_in_training_rows_alone() -> None:
    given = DatasetDict(train=rows_of(["a", "b", "c"] * 40), test=rows_of(["a", "b", "c"] * 9, 200))
    right, _ = load(given, train_rows=60)
    wrong, said = load(given, train_rows=60, flip_labels=0.4)
    assert "24 of 60 training rows have a wrong label on purpose (data.flip_labels)" in said
    for split in right:
        assert wrong[split]["text"] == right[split]["text"]
        assert wrong[split].features == right[split].features
        pairs = zip(wrong[split]["label"], right[split]["label"], strict=True)
        assert sum(a != b for a, b in pairs) == (24 if split == "train" else 0)
    assert set(wrong["train"]["label"]) == {0, 1, 2}
    again, _ = load(given, train_rows=60, flip_labels=0.4)
    assert again["train"]["label"] == wrong["train"]["label"]
    with pytest.raises(InputError, match=r"flip_labels .* learns no class"):
        load(rows_of(["a", "b"] * 9), (TEXT,), flip_labels=0.1)
