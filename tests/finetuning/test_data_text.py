"""Text files that look right and are not: encodings, line ends, delimiters, headers, JSON."""

import json
from itertools import product
from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa
import pyarrow.parquet
import pytest
from datasets import DatasetDict

from autolora_meta.errors import InputError
from autolora_meta.finetuning.data import LABEL, TEXT, TEXT_PAIR, DataOptions, Role, load_rows
from autolora_meta.finetuning.tasks.generation import Generation


@pytest.fixture(autouse=True)
def _cache_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")


ROLES = (TEXT, TEXT_PAIR, LABEL)
TAGS = (Role("tokens", "tokens", ("tokens",)), Role("tags", "tags", ("tags",)))


def load(
    source: Path, roles: tuple[Role, ...] = ROLES, said: list[str] | None = None, **options: Any
) -> DatasetDict:
    say = (said if said is not None else []).append
    return load_rows(
        DataOptions.model_validate({"source": str(source), **options}), roles, 0, say=say
    )


def all_texts(rows: DatasetDict, column: str = "text") -> set[str]:
    return {text for part in rows.values() for text in part[column]}


TEXTS = {f"größer, {i}" for i in range(12)}
CONTENT = {
    "rows.csv": "text,label\n" + "".join(f'"größer, {i}",{i % 2}\n' for i in range(12)),
    "rows.tsv": "text\tlabel\n" + "".join(f"größer, {i}\t{i % 2}\n" for i in range(12)),
    "rows.jsonl": "".join(
        json.dumps({"text": f"größer, {i}", "label": i % 2}, ensure_ascii=False) + "\n"
        for i in range(12)
    ),
    "rows.json": json.dumps(
        [{"text": f"größer, {i}", "label": i % 2} for i in range(12)], ensure_ascii=False, indent=1
    ),
}


@pytest.mark.parametrize("name", CONTENT)
@pytest.mark.parametrize(
    ("encoding", "ends"),
    [
        *product(["utf-8", "utf-8-sig", "utf-16", "utf-32"], ["\n", "\r\n", "\r"]),
        *product(["utf-16-le", "utf-16-be"], ["\n", "\r\n"]),  # known by their line feeds
    ],
)
def test_encodings_and_line_ends(tmp_path: Path, name: str, encoding: str, ends: str) -> None:
    content = CONTENT[name].replace("\n", ends)
    (tmp_path / name).write_bytes(content.encode(encoding))
    assert all_texts(load(tmp_path / name)) == TEXTS


def test_utf16_of_other_kinds_of_text(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("\n".join(TEXTS), encoding="utf-16")
    assert all_texts(load(tmp_path / "a.txt", (TEXT,))) == TEXTS
    (tmp_path / "a.conll").write_text("".join(f"ß{i}\tB-X\nb\tO\n\n" for i in range(6)), "utf-16")
    assert len(load(tmp_path / "a.conll", TAGS)["train"]) == 2
    (tmp_path / "a.json").write_bytes(CONTENT["rows.json"].replace("\n", "").encode("utf-16-le"))
    assert all_texts(load(tmp_path / "a.json")) == TEXTS
    (tmp_path / "odd.csv").write_bytes("text,label\nx,a\n".encode("utf-16") + b"x")
    with pytest.raises(InputError, match=r"odd\.csv: the file looks like UTF-16 text and is none"):
        load(tmp_path / "odd.csv")


@pytest.mark.parametrize(
    ("start", "what"),
    [
        (b"PK\x03\x04", "an Excel workbook or a zip archive"),
        (b"\x1f\x8b\x08", "compressed"),
        (b"PAR1", "a parquet file"),
        (b"<!DOCTYPE HTML><html>", "a web page"),
        (b"version https://git-lfs.github.com/spec/v1\n", "a pointer of Git LFS"),
    ],
)
def test_files_that_are_no_text_are_named(tmp_path: Path, start: bytes, what: str) -> None:
    (tmp_path / "rows.csv").write_bytes(start + b"\0 more")
    with pytest.raises(InputError, match=rf"rows\.csv' is no text but {what}"):
        load(tmp_path / "rows.csv")


def test_a_carriage_return_inside_a_line_is_no_line_end(tmp_path: Path) -> None:
    lines = [f"text {i}\rmore" for i in range(9)]
    (tmp_path / "rows.txt").write_bytes("\n".join(lines).encode())
    assert all_texts(load(tmp_path / "rows.txt", (TEXT,))) == set(lines)
    content = "text\tlabel\n" + "".join(f"{line}\t{i % 2}\n" for i, line in enumerate(lines))
    (tmp_path / "rows.tsv").write_bytes(content.encode())
    assert all_texts(load(tmp_path / "rows.tsv")) == set(lines)
    content = "text,label\n" + "".join(f'"{line}",{i % 2}\r\n' for i, line in enumerate(lines))
    (tmp_path / "rows.csv").write_bytes(content.encode())
    assert all_texts(load(tmp_path / "rows.csv")) == set(lines)
    (tmp_path / "rows.csv").write_bytes(content.replace('"text 1\rmore"', "text 1\rmore").encode())
    with pytest.raises(InputError, match=r"rows\.csv, line 3: a carriage return in a field with"):
        load(tmp_path / "rows.csv")


@pytest.mark.parametrize("name", ["rows.csv", "rows.tsv"])
@pytest.mark.parametrize(
    ("delimiter", "what"), [(";", "semicolons"), ("\t", "tabs"), ("|", "bars"), (",", "commas")]
)
def test_other_delimiters_are_found(tmp_path: Path, name: str, delimiter: str, what: str) -> None:
    rows = [f"good; or, {i} |{delimiter}{i % 2}" for i in range(60)]
    if delimiter != "\t":
        rows = [f'"good; or, {i} |"{delimiter}{i % 2}' for i in range(60)]
    (tmp_path / name).write_text("\n".join([f"text{delimiter}label", *rows]))
    said: list[str] = []
    rows_read = load(tmp_path / name, said=said)
    assert all_texts(rows_read) == {f"good; or, {i} |" for i in range(60)}
    own = {"rows.csv": ",", "rows.tsv": "\t"}[name]
    assert (f"{tmp_path / name}: fields are divided by {what}" in said) == (delimiter != own)


def test_a_delimiter_is_found_without_a_header_and_told_by_excel(tmp_path: Path) -> None:
    rows = [f"{i % 2};really good, {i}" for i in range(12)]
    (tmp_path / "bare.csv").write_text("\n".join(rows))
    expected = {f"really good, {i}" for i in range(12)}
    assert all_texts(load(tmp_path / "bare.csv", text="2", label="1")) == expected
    (tmp_path / "sep.csv").write_text("\n".join(["sep=;", "label;text", *rows]))
    assert all_texts(load(tmp_path / "sep.csv")) == expected
    (tmp_path / "one.csv").write_text("text\n" + "".join(f"so; and so {i}\n" for i in range(9)))
    assert "so; and so 3" in all_texts(load(tmp_path / "one.csv", (TEXT,)))
    (tmp_path / "bare.csv").write_text("\n".join(["label;text", *rows, "1;a;b"]))
    with pytest.raises(InputError, match=r"bare\.csv, line 14: 3 fields where the first line has"):
        load(tmp_path / "bare.csv")


def test_names_of_columns_that_are_not_read_may_be_empty_or_repeated(tmp_path: Path) -> None:
    rows = "".join(f"{i % 2},text {i},,,x\n" for i in range(12))
    (tmp_path / "rows.csv").write_text(" Label ,TEXT,,,\n" + rows)
    said: list[str] = []
    assert "text 3" in all_texts(load(tmp_path / "rows.csv", said=said))
    assert "columns read: text = TEXT, label = Label" in said
    assert "columns not read: (column 3), (column 4), (column 5)" in said
    (tmp_path / "rows.csv").write_text("\ufeff\ufefflabel,text,id,id,id\n" + rows)
    assert "text 3" in all_texts(load(tmp_path / "rows.csv"))
    (tmp_path / "rows.csv").write_text("label,text,text,id,id\n" + rows)
    assert "text 3" in all_texts(load(tmp_path / "rows.csv", text="text (column 2)"))
    with pytest.raises(InputError, match=r"unknown column 'text'; allowed: .*text \(column 2\)"):
        load(tmp_path / "rows.csv", text="text")


def test_meanings_of_e2e_are_found_by_their_names(tmp_path: Path) -> None:
    rows = "".join(f'"name[{i}], food[x]",said {i}\n' for i in range(12))
    (tmp_path / "trainset.csv").write_text("mr,ref\n" + rows)
    found = load(tmp_path / "trainset.csv", Generation.roles)
    assert all_texts(found, "target") == {f"said {i}" for i in range(12)}


def test_lines_of_json_under_the_other_name(tmp_path: Path) -> None:
    (tmp_path / "lines.json").write_text(CONTENT["rows.jsonl"])
    (tmp_path / "list.jsonl").write_text(CONTENT["rows.json"])
    assert all_texts(load(tmp_path / "lines.json")) == TEXTS
    assert all_texts(load(tmp_path / "list.jsonl")) == TEXTS


def test_nan_in_json_is_null_whatever_its_column_holds(tmp_path: Path) -> None:
    content = CONTENT["rows.jsonl"].replace('"größer, 3"', "NaN")
    (tmp_path / "rows.jsonl").write_text(content)
    with pytest.raises(InputError, match=r"1 rows without a 'text': .*rows\.jsonl, line 4;"):
        load(tmp_path / "rows.jsonl")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.json", '{"data": [{"text": "x"}],\n "version": 1}', "one dict with the keys data, ver"),
        ("a.json", '[{"text": "x"}, 3]', r"a\.json, row 2 is a int; allowed is a list of objects"),
        ("a.json", '{"text": "x"}\n{"text": \n', r"a\.json, line 2: not JSON"),
        ("a.json", '"text"', "one str; allowed is a list of objects"),
        ("a.jsonl", f'{{"n": 1}}\n{{"n": {2**70}}}', r"a\.jsonl, line 2: column 'n' holds what no"),
        ("a.jsonl", '{"text": "x"}\n{"text": "\\ud800"}', r"a\.jsonl, line 2: column 'text' holds"),
        ("a.jsonl", '{"text": "x"}\n{"text": "y"} {"text": "z"}', r"a\.jsonl, line 2: not JSON"),
    ],
)
def test_json_that_is_no_table(tmp_path: Path, name: str, content: str, message: str) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(InputError, match=message):
        load(tmp_path / name)


def test_a_broken_parquet_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "rows.parquet").write_bytes(b"PAR1" + b"\1" * 100 + b"\x10\0\0\0PAR1")
    with pytest.raises(InputError, match=r"rows\.parquet' cannot be read as a table"):
        load(tmp_path / "rows.parquet")
    not_text = pa.array([b"\xff%d" % i for i in range(9)]).view(pa.string())
    table = pa.table({"text": not_text, "label": list("abcabcabc")})
    pyarrow.parquet.write_table(table, tmp_path / "rows.parquet")
    with pytest.raises(InputError, match=r"column 'text' is damaged: Invalid UTF8"):
        load(tmp_path / "rows.parquet")


def test_names_and_texts_that_no_table_can_hold(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_bytes(b"te\0xt,label\nx,a\n")
    with pytest.raises(InputError, match=r"rows\.csv' cannot be read as a table"):
        load(tmp_path / "rows.csv")
    (tmp_path / "rows.json").write_text('[{"te\\ud800xt": "x"}]')
    with pytest.raises(InputError, match=r"rows\.json' cannot be read as a table"):
        load(tmp_path / "rows.json")
