"""Files of every kind and folders of them, and what is said of broken ones."""

import json
from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa
import pyarrow.parquet
import pytest
from datasets import Dataset, DatasetDict

from autolora_meta.errors import InputError
from autolora_meta.finetuning.data import (
    LABEL,
    TEXT,
    TEXT_PAIR,
    DataOptions,
    Role,
    load_rows,
    text_file,
)
from tests.tiny import tiny_texts

ROLES = (TEXT, TEXT_PAIR, LABEL)


@pytest.fixture(autouse=True)
def _cache_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")


def load(
    source: Path | dict[str, str], roles: tuple[Role, ...] = ROLES, **options: Any
) -> DatasetDict:
    named = source if isinstance(source, dict) else str(source)
    return load_rows(DataOptions.model_validate({"source": named, **options}), roles, 0)


def all_texts(rows: DatasetDict) -> set[str]:
    return {text for part in rows.values() for text in part["text"]}


def test_arrow_files_and_streams(tmp_path: Path) -> None:
    table = pa.Table.from_pylist(tiny_texts(12))
    for name, writing in (("stream", pa.ipc.new_stream), ("file", pa.ipc.new_file)):
        path = str(tmp_path / f"{name}.arrow")
        with pa.OSFile(path, "wb") as sink, writing(sink, table.schema) as writer:
            writer.write_table(table)
    expected = {row["text"] for row in tiny_texts(12)}
    assert all_texts(load(tmp_path / "stream.arrow")) == expected
    assert all_texts(load(tmp_path / "file.arrow")) == expected


def test_a_file_for_each_split_is_named(tmp_path: Path) -> None:
    rows = tiny_texts(60)
    for name, part in {"a.jsonl": rows[:40], "b.jsonl": rows[40:]}.items():
        (tmp_path / name).write_text("".join(json.dumps(row) + "\n" for row in part))
    source = {"train": str(tmp_path / "a.jsonl"), "test": str(tmp_path / "b.jsonl")}
    found = load(source)
    assert set(found["test"]["text"]) == {row["text"] for row in rows[40:]}
    assert len(found["train"]) + len(found["validation"]) == 40
    with pytest.raises(InputError, match=r"c\.jsonl' does not exist"):
        load({"train": str(tmp_path / "c.jsonl")})
    with pytest.raises(InputError, match=r"data\.source\.train .* is a folder; give a file"):
        load({"train": str(tmp_path)})


def test_a_repository_of_the_hub_as_a_folder(tmp_path: Path) -> None:
    """Shards of a configuration, as the hub lays them out; train is put together again."""
    rows = tiny_texts(90)
    place = tmp_path / "cola"
    place.mkdir()
    files = {
        "train-00000-of-00002": rows[:30],
        "train-00001-of-00002": rows[30:60],
        "validation_matched-00000-of-00001": rows[60:],
        "validation_mismatched-00000-of-00001": rows[:3],
    }
    for name, part in files.items():
        pyarrow.parquet.write_table(pa.Table.from_pylist(part), place / f"{name}.parquet")
    found = load(tmp_path, name="cola")
    assert set(found["test"]["text"]) == {row["text"] for row in rows[60:]}
    assert len(found["train"]) + len(found["validation"]) == 60
    table = pa.Table.from_pylist([{"text": 1.5, "label": "a"}])
    pyarrow.parquet.write_table(table, place / "train-00001-of-00002.parquet")
    with pytest.raises(InputError, match=r"00001-of-00002\.parquet cannot be put together: .*text"):
        load(tmp_path, name="cola")


def test_files_and_splits_under_other_names(tmp_path: Path) -> None:
    rows = tiny_texts(90)
    for name, part in {"trainset": rows[:60], "testing": rows[60:], "more": rows[:3]}.items():
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in part))
    (tmp_path / "._trainset.jsonl").write_bytes(b"\0\5\x16\7")  # what a Mac packs beside it
    said: list[str] = []
    found = load_rows(DataOptions(source=str(tmp_path)), ROLES, 0, say=said.append)
    assert set(found["test"]["text"]) == {row["text"] for row in rows[60:]}
    assert "files whose names say no split, not read: more.jsonl" in said
    given = {"training": rows[:60], "Test": rows[60:], "extra": rows[:3]}
    parts = {name: Dataset.from_list(part) for name, part in given.items()}
    found = load_rows(DataOptions(), ROLES, 0, say=said.append, given=parts)
    assert set(found["test"]["text"]) == {row["text"] for row in rows[60:]}
    assert "splits not read: extra" in said


def test_splits_are_named(tmp_path: Path) -> None:
    rows = tiny_texts(90)
    parts = {"train": rows[:40], "held": rows[40:60], "test": rows[60:]}
    DatasetDict({split: Dataset.from_list(part) for split, part in parts.items()}).save_to_disk(
        tmp_path / "saved"
    )
    found = load(tmp_path / "saved", splits={"train": "train", "test": "held"})
    assert set(found["test"]["text"]) == {row["text"] for row in rows[40:60]}
    assert all_texts(found) == {row["text"] for row in rows[:60]}
    with pytest.raises(InputError, match=r"data\.splits\.test: unknown split 'hold' .*'held'"):
        load(tmp_path / "saved", splits={"train": "train", "test": "hold"})
    (tmp_path / "saved" / "train" / "state.json").write_text("null")
    with pytest.raises(InputError, match="was written by save_to_disk and cannot be read"):
        load(tmp_path / "saved")


@pytest.mark.parametrize("name", ["rows.csv", "rows.jsonl"])
def test_long_files_are_read_in_blocks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(text_file, "BLOCK", 7)
    rows = [{"text": f"text {i}", "label": None if i < 7 else i % 2} for i in range(40)]
    if name.endswith("csv"):
        lines = [f"{row['text']},{'' if i < 7 else i % 2}" for i, row in enumerate(rows)]
        (tmp_path / name).write_text("\n".join(["text,label", *lines]))
    else:
        (tmp_path / name).write_text("\n".join(json.dumps(row) for row in rows))
    with pytest.raises(InputError, match=r"7 rows without a 'label': .*lines \d, .* and 2 more;"):
        load(tmp_path / name)
    found = load(tmp_path / name, (TEXT,))
    assert all_texts(found) == {f"text {i}" for i in range(40)}


def test_a_text_may_be_longer_than_the_csv_module_allows(tmp_path: Path) -> None:
    lines = "".join(f"{'word ' * 40_000}{i}\t{i % 2}\n" for i in range(6))
    (tmp_path / "rows.tsv").write_text("text\tlabel\n" + lines)
    assert len(load(tmp_path / "rows.tsv")["train"]) == 2


def test_plain_text_has_a_text_on_each_line(tmp_path: Path) -> None:
    (tmp_path / "rows.txt").write_text("one\n\n two \nthree\n")
    assert all_texts(load(tmp_path / "rows.txt", (TEXT,))) == {"one", "two", "three"}


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.tsv", "text\tlabel\nx\ta\ny\n", r"a\.tsv, line 3: 1 fields where the first line has 2"),
        ("a.csv", 'text,label\n"x\ny",a\nz\n', r"a\.csv, line 4: 1 fields"),
        ("a.csv", 'text,label\nx,a\n"y,b\nz,a\n', r"a\.csv, line 3: .*is a quote left open"),
        (
            "a.jsonl",
            '{"text": "x", "label": 1}\n{"text": "y", "label": "b"}\n',
            r"a\.jsonl, line 2: column 'label' holds str here and int before",
        ),
        ("a.json", "[" * 100_000, "cannot be read as a table"),
        ("a.arrow", "no arrow", "cannot be read as a table"),
    ],
)
def test_broken_files(tmp_path: Path, name: str, content: str, message: str) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(InputError, match=message):
        load(tmp_path / name)


def test_the_line_that_is_not_utf8_is_named(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_bytes("text,label\nplain,a\ncaf\xe9,b\n".encode("latin-1"))
    with pytest.raises(InputError, match=r"rows\.csv, line 3: the file is not UTF-8 text .*0xe9"):
        load(tmp_path / "rows.csv")


def test_a_key_that_later_lines_have_is_a_column(tmp_path: Path) -> None:
    rows = [{"label": "a"}] + [{"label": "ab"[i % 2], "text": f"text {i}"} for i in range(8)]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(InputError, match=r"1 rows without a 'text': .*rows\.jsonl, line 1;"):
        load(tmp_path / "rows.jsonl")
    found = load(tmp_path / "rows.jsonl", missing="drop")
    assert all_texts(found) == {f"text {i}" for i in range(8)}
