"""Rows from every source, and the three disjoint splits."""

import json
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa
import pyarrow.parquet
import pytest
from datasets import ClassLabel, Dataset, DatasetDict, Features, Value

from autolora_meta.errors import InputError
from autolora_meta.finetuning.data import (
    LABEL,
    TEXT,
    TEXT_PAIR,
    DataOptions,
    load_rows,
    stdlib_docs,
)
from autolora_meta.finetuning.data.splits import row_counts, stratified
from tests.tiny import tiny_csv, tiny_texts

ROLES = (TEXT, TEXT_PAIR, LABEL)
SPLITS = ("train", "validation", "test")


def texts(rows: DatasetDict) -> dict[str, list[str]]:
    return {split: list(rows[split]["text"]) for split in SPLITS}


def load(source: Path | str, seed: int = 0, **options: Any) -> DatasetDict:
    return load_rows(DataOptions.model_validate({"source": str(source)} | options), ROLES, seed)


def test_docstrings_of_the_standard_library() -> None:
    rows = stdlib_docs.load()["train"]
    assert rows.features["label"].names == list(stdlib_docs.PACKAGES)
    assert len(stdlib_docs.PACKAGES) == 12
    counts = Counter(rows["label"])
    assert len(rows) > 2000 and min(counts.values()) > 50 and len(counts) == 12
    found = list(rows["text"])
    assert len(set(found)) == len(found)
    assert all(len(text.split()) >= 3 and text == " ".join(text.split()) for text in found)
    assert "Parser driver." not in found  # two words
    tarfile = rows.features["label"].str2int("tarfile")
    assert any(
        text.startswith("Read from and write to tar") and label == tarfile
        for text, label in zip(found, rows["label"], strict=True)
    )


def test_docstrings_without_importing_and_without_test_suites(tmp_path: Path) -> None:
    for package in stdlib_docs.PACKAGES:
        (tmp_path / package / "tests").mkdir(parents=True)
        (tmp_path / package / "__init__.py").write_text(
            f'"""What {package}   does\n   for you."""\nraise SystemExit\n'
            'class A:\n    """The same everywhere, said again."""\n'
            '    async def f(self):\n        """Too short."""\n'
        )
        (tmp_path / package / "tests" / "case.py").write_text('"""A test that is left out."""')
    rows = stdlib_docs.load(tmp_path)["train"]
    assert rows["text"][:2] == ["What asyncio does for you.", "The same everywhere, said again."]
    assert len(rows) == 12 + 1
    shutil.rmtree(tmp_path / "xml")
    with pytest.raises(InputError, match=r"'xml'.*without the sources"):
        stdlib_docs.load(tmp_path)


def test_splits_are_disjoint_stratified_and_depend_on_the_seed(tmp_path: Path) -> None:
    source = tiny_csv(tmp_path / "rows.csv", 120)
    options = {"train_rows": 30, "validation_rows": 0.25}
    one, same, other = (
        load(source, 0, **options),
        load(source, 0, **options),
        load(source, 1, **options),
    )
    assert {split: len(one[split]) for split in SPLITS} == {
        "train": 30,
        "validation": 30,
        "test": 60,
    }
    assert texts(one) == texts(same) != texts(other)
    assert len({text for split in texts(one).values() for text in split}) == 120
    assert Counter(one["train"]["label"]) == {0: 10, 1: 10, 2: 10}
    assert one["train"].features["label"].names == ["animal", "colour", "number"]


def test_rows_not_asked_for_are_shared(tmp_path: Path) -> None:
    rows = load(tiny_csv(tmp_path / "rows.csv", 121))
    assert sorted(len(rows[split]) for split in SPLITS) == [40, 40, 41]
    assert row_counts({"test": None, "train": 5, "validation": None}, 12) == {
        "test": 3,
        "train": 5,
        "validation": 4,
    }


def test_rare_classes_are_in_every_split() -> None:
    labels = [0] * 95 + [1] * 5
    cut = stratified(labels, {"test": 70, "validation": 15, "train": 15}, ["a", "b"], seed=3)
    assert sorted(i for part in cut.values() for i in part) == list(range(100))
    assert all({labels[i] for i in part} == {0, 1} for part in cut.values())


def test_a_test_split_of_its_own_stays_the_same_for_all_seeds(tmp_path: Path) -> None:
    everything = tiny_texts(90)
    for name, part in {"train": everything[:60], "test": everything[60:]}.items():
        lines = "\n".join(json.dumps(row) for row in part)
        (tmp_path / f"{name}.jsonl").write_text(lines)
    one, other = load(tmp_path, 0), load(tmp_path, 1)
    assert set(one["test"]["text"]) == {row["text"] for row in everything[60:]}
    assert one["test"].to_dict() == other["test"].to_dict()
    assert texts(one)["train"] != texts(other)["train"]
    assert len(one["train"]) == len(one["validation"]) == 30
    few = load(tmp_path, 5, test_rows=9)
    assert few["test"].to_dict() == load(tmp_path, 6, test_rows=9)["test"].to_dict()


def glue_like() -> DatasetDict:
    names = ClassLabel(names=["no", "yes"])
    features = Features(
        {"sentence1": Value("string"), "sentence2": Value("string"), "label": names}
    )
    splits = {}
    for split, rows in {"train": 40, "validation": 12, "test": 8}.items():
        columns = {
            "sentence1": [f"{split} first {i}" for i in range(rows)],
            "sentence2": [f"{split} second {i}" for i in range(rows)],
            "label": [-1 if split == "test" else i % 2 for i in range(rows)],
        }
        splits[split] = Dataset.from_dict(columns, features=features)
    return DatasetDict(splits)


def test_glue_from_the_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[object] = []

    def load_dataset(*args: object, **settings: object) -> DatasetDict:
        asked.extend([*args, settings])
        return glue_like()

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    said: list[str] = []
    options = DataOptions(source="nyu-mll/glue", name="rte", revision="abc", train_rows=10)
    rows = load_rows(options, ROLES, 0, say=said.append)
    assert asked == ["nyu-mll/glue", "rte", {"revision": "abc"}]
    assert all(text.startswith("validation") for text in rows["test"]["text"])
    assert (len(rows["train"]), len(rows["validation"]), len(rows["test"])) == (10, 30, 12)
    assert rows["train"].column_names == ["text", "text_pair", "label"]
    assert rows["train"].features["label"].names == ["no", "yes"]
    told = "\n".join(said)
    assert "text = sentence1, text_pair = sentence2, label = label" in told
    assert "split test has no labels" in told and "validation split" in told


def test_hub_out_of_reach(monkeypatch: pytest.MonkeyPatch) -> None:
    def load_dataset(*args: object, **settings: object) -> None:
        raise ConnectionError("Couldn't reach 'nobody/nothing' on the Hub")

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    with pytest.raises(InputError, match=r"nobody/nothing.*could not be loaded from the hub"):
        load("nobody/nothing")


def test_saved_data_set(tmp_path: Path) -> None:
    glue_like().save_to_disk(tmp_path / "saved")
    assert len(load(tmp_path / "saved")["test"]) == 12


def test_every_file_format_gives_the_same_rows(tmp_path: Path) -> None:
    rows = tiny_texts(60)
    (tmp_path / "rows.json").write_text(json.dumps(rows))
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    pyarrow.parquet.write_table(pa.Table.from_pylist(rows), tmp_path / "rows.parquet")
    (tmp_path / "rows.tsv").write_text(
        "text\tlabel\n" + "".join(f"{row['text']}\t{row['label']}\n" for row in rows)
    )
    (tmp_path / "bare.tsv").write_text(
        "".join(f"{row['label']}\t{row['text']}\n" for row in rows), encoding="utf-8-sig"
    )
    expected = load(tiny_csv(tmp_path / "rows.csv", 60))
    for name in ("rows.json", "rows.jsonl", "rows.parquet", "rows.tsv"):
        assert texts(load(tmp_path / name)) == texts(expected), name
    assert texts(load(tmp_path / "bare.tsv", text="2", label="1")) == texts(expected)


def test_quotes_in_a_tsv_are_characters(tmp_path: Path) -> None:
    lines = "".join(f'"{i} he said\t{i % 2}\n' for i in range(12))
    (tmp_path / "rows.tsv").write_text("text\tlabel\n" + lines)
    assert load(tmp_path / "rows.tsv")["train"]["text"][0].startswith('"')


def test_classes_written_as_numbers_are_in_their_order(tmp_path: Path) -> None:
    lines = "".join(f"text {i},{i % 11}\n" for i in range(66))
    (tmp_path / "rows.csv").write_text("text,label\n" + lines)
    names = load(tmp_path / "rows.csv")["train"].features["label"].names
    assert names == [str(i) for i in range(11)]


def test_empty_texts_and_repeats_are_dropped_and_counted(tmp_path: Path) -> None:
    lines = "".join(f"text {i % 30},{i % 2}\n" for i in range(40)) + " ,0\n,1\n"
    (tmp_path / "rows.csv").write_text("text,label\n" + lines)
    said: list[str] = []
    rows = load_rows(DataOptions(source=str(tmp_path / "rows.csv")), ROLES, 0, say=said.append)
    assert sum(len(rows[split]) for split in SPLITS) == 30
    assert any("2 rows with an empty text" in line for line in said)
    assert any("10 rows that repeat" in line for line in said)


def test_overlap_with_the_test_split_is_refused(tmp_path: Path) -> None:
    tiny_csv(tmp_path / "train.csv", 60)
    tiny_csv(tmp_path / "test.csv", 12)
    message = r"12 texts stand in more than one.*data.overlap: drop.*data.overlap: allow"
    with pytest.raises(InputError, match=message):
        load(tmp_path)


def test_overlap_with_the_test_split_is_dropped_from_the_other_rows_or_allowed(
    tmp_path: Path,
) -> None:
    tiny_csv(tmp_path / "train.csv", 60)
    tiny_csv(tmp_path / "test.csv", 12)
    said: list[str] = []
    rows = load_rows(DataOptions(source=str(tmp_path), overlap="drop"), ROLES, 0, say=said.append)
    drawn = [text for split in SPLITS for text in rows[split]["text"]]
    assert len(rows["test"]) == 12 and len(drawn) == len(set(drawn)) == 60
    assert "12 rows whose text stands in the test rows dropped from the others" in said
    allowed = load(tmp_path, overlap="allow")
    assert (len(allowed["test"]), len(allowed["train"]) + len(allowed["validation"])) == (12, 60)


def test_repeats_go_whether_overlap_is_refused_or_dropped(tmp_path: Path) -> None:
    lines = "".join(f"text {i % 30},{i % 2}\n" for i in range(40))
    (tmp_path / "rows.csv").write_text("text,label\n" + lines)
    counts = {
        overlap: sum(len(part) for part in load(tmp_path / "rows.csv", overlap=overlap).values())
        for overlap in ("refuse", "drop", "allow")
    }
    assert counts == {"refuse": 30, "drop": 30, "allow": 40}


def rows_of(*labels: str) -> str:
    return "text,label\n" + "".join(f"text {i},{label}\n" for i, label in enumerate(labels))


@pytest.mark.parametrize(
    ("name", "content", "options", "message"),
    [
        ("a.csv", "", {}, "empty file"),
        ("a.csv", "text,label\n", {}, "holds no rows"),
        ("a.doc", "x", {}, r"unknown ending '\.doc'.*\.csv"),
        ("a.txt", "x", {}, "a txt file holds tokens and tags"),
        ("a.csv", rows_of(*"aaaaaa"), {}, r"one class only \('a'\)"),
        ("a.csv", "text,class\nx y,a\n", {"label": "clas"}, "did you mean 'class'"),
        ("a.csv", "body,label\nx y,a\n", {}, "data.text is not given.*columns there: body, label"),
        ("a.csv", "text,kind\nx y,a\n", {}, "data.label is not given.*columns there: text, kind"),
        ("a.csv", "text,label\nx,a\nx,y,a\n", {}, r"a\.csv, line 3: 3 fields"),
        ("a.csv", 'text,label\nx,a\n"y,b\n', {}, r"a\.csv, line 3"),
        (
            "a.csv",
            "text,text\nx,a\n",
            {},
            r"columns there: text \(column 1\), text \(column 2\) \(a name that stands twice",
        ),
        ("a.csv", "text,label\n,a\n ,b\n", {}, "no row of split 'train' has a text"),
        (
            "a.csv",
            "text,label\nx,a\ny,\nz,b\n",
            {},
            "1 rows without a 'label': .*a.csv, line 3; .*data.missing: drop",
        ),
        ("a.csv", rows_of(*"abababab", "c"), {}, "class 'c' has 1 rows"),
        ("a.csv", rows_of(*"ab" * 6), {"train_rows": 30}, "12 rows are there.*train 30"),
        ("a.csv", rows_of(*"ab" * 6), {"train_rows": 1}, "data.train_rows is 1, fewer than the 2"),
        ("a.csv", rows_of(*"ab" * 6), {"test_rows": 12}, "12 rows are there"),
        ("a.json", '[{"text": 1,\n]', {}, r"a\.json, line 2: not JSON"),
        ("a.json", '{"text": ["x"]}', {}, "list of objects"),
        (
            "a.json",
            '[{"text": "x", "label": 0.5}, {"text": "y", "label": 1}]',
            {},
            "0.5, not classes",
        ),
        ("a.jsonl", '{"text": "x"}\n\n{"text"\n', {}, r"a\.jsonl, line 3: not JSON"),
        ("a.jsonl", '{"text": "x"}\n[1]\n', {}, r"a\.jsonl, line 2: allowed is one object"),
        ("a.jsonl", '{"text": "x"}\n{"text": [1]}\n', {}, "cannot be read as a table"),
        ("a.parquet", "no parquet", {}, "cannot be read as a table"),
    ],
)
def test_bad_files(
    tmp_path: Path, name: str, content: str, options: dict[str, Any], message: str
) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(InputError, match=message):
        load(tmp_path / name, **options)


def test_bad_paths(tmp_path: Path) -> None:
    tiny_csv(tmp_path / "mine.csv", 12)
    with pytest.raises(InputError, match=r"does not exist.*did you mean '.*mine.csv'"):
        load(tmp_path / "mime.csv")
    with pytest.raises(InputError, match="folder without a train file"):
        load(tmp_path)
    (tmp_path / "latin.csv").write_bytes("text,label\ncaf\xe9,a\n".encode("latin-1"))
    with pytest.raises(InputError, match="not UTF-8"):
        load(tmp_path / "latin.csv")
