"""Rows from files: csv, tsv, json, jsonl, parquet; or a folder with one such file a split."""

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet
from datasets import Dataset, DatasetDict

from autolora_meta.errors import InputError, unknown
from autolora_meta.finetuning.data import hub

# File stems that name a split, in a folder with one file a split.
STEMS = {
    "train": "train",
    "validation": "validation",
    "valid": "validation",
    "val": "validation",
    "dev": "validation",
    "devel": "validation",
    "test": "test",
}


def load(source: str, *, header: bool = True) -> DatasetDict:
    """Read a file (one split, train), or a folder that holds train, validation, test files.

    A csv file is read with the usual quoting; a tsv file without any, as GLUE's are: there a quote
    is a character like others. Text is UTF-8.

    Args:
        source: path of the file or folder.
        header: whether the first line of a csv or tsv file names the columns; where it does not,
            they are called 1, 2, 3, ...

    Raises:
        InputError: no such path, an ending that is not known, an empty file, or a broken one (with
            its line).
    """
    path = Path(source).expanduser()
    if not path.exists():
        there = path.parent.iterdir() if path.parent.is_dir() else ()
        near = [p.name for p in there if p.suffix.lower() in READERS]
        raise InputError(
            f"data.source '{source}' does not exist; in '{path.parent}': "
            f"{unknown('data file', path.name, near)}"
        )
    if path.is_file():
        return DatasetDict({"train": _read(path, header)})
    if hub.is_saved(path):
        return hub.load_saved(path)
    splits: dict[str, Dataset] = {}
    for file in sorted(path.iterdir()):
        split = STEMS.get(file.stem.lower())
        if split and file.suffix.lower() in READERS:
            if split in splits:
                raise InputError(f"data.source '{source}' holds two files for '{split}'; keep one")
            splits[split] = _read(file, header)
    if "train" not in splits:
        raise InputError(
            f"data.source '{source}' is a folder without a train file; allowed: train, validation "
            f"and test with the ending {', '.join(READERS)}, or what save_to_disk writes"
        )
    return DatasetDict(**splits)


def _read(path: Path, header: bool) -> Dataset:
    reader = READERS.get(path.suffix.lower())
    if reader is None:
        raise InputError(f"data.source '{path}': {unknown('ending', path.suffix, READERS)}")
    if not path.stat().st_size:
        raise InputError(f"data.source '{path}' is an empty file")
    try:
        table = reader(path, header)
    except UnicodeDecodeError as error:
        raise InputError(f"data.source '{path}' is not UTF-8 text: {error}") from None
    except pa.ArrowException as error:
        raise InputError(f"data.source '{path}' cannot be read as a table: {error}") from None
    if not table.num_rows:
        raise InputError(f"data.source '{path}' holds no rows")
    return Dataset(table)


def _csv(path: Path, header: bool) -> pa.Table:
    return _delimited(path, header, delimiter=",")


def _tsv(path: Path, header: bool) -> pa.Table:
    return _delimited(path, header, delimiter="\t", quoting=csv.QUOTE_NONE)


def _delimited(path: Path, header: bool, **dialect: Any) -> pa.Table:
    names: list[str] = []
    rows: list[list[str]] = []
    with open(path, encoding="utf-8-sig", newline="") as file:
        reader = csv.reader(file, strict=True, **dialect)
        try:
            for row in reader:
                if not row:  # an empty line
                    continue
                if not names:
                    names = row if header else [str(i + 1) for i in range(len(row))]
                    if header:
                        _refuse_repeated(path, names)
                        continue
                if len(row) != len(names):
                    raise InputError(
                        f"{path}, line {reader.line_num}: {len(row)} fields where the first line "
                        f"has {len(names)} ({', '.join(names)}); quote fields that hold the "
                        "delimiter, or mend the line"
                    )
                rows.append(row)
        except csv.Error as error:
            raise InputError(f"{path}, line {reader.line_num}: {error}") from None
    columns = list(zip(*rows, strict=True)) or [()] * len(names)
    return pa.table(
        {name: pa.array(column, pa.string()) for name, column in zip(names, columns, strict=True)}
    )


def _refuse_repeated(path: Path, names: list[str]) -> None:
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise InputError(f"{path}, line 1: column {', '.join(repeated)} stands twice")


def _json(path: Path, header: bool) -> pa.Table:
    try:
        rows = json.loads(path.read_text(encoding="utf-8-sig"))
    except json.JSONDecodeError as error:
        raise InputError(f"{path}, line {error.lineno}: not JSON: {error.msg}") from None
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise InputError(f"{path}: allowed is a list of objects, one a row; or use jsonl")
    return pa.Table.from_pylist(rows)


def _jsonl(path: Path, header: bool) -> pa.Table:
    rows = []
    for number, line in enumerate(path.read_text(encoding="utf-8-sig").split("\n"), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            raise InputError(f"{path}, line {number}: not JSON: {error.msg}") from None
        if not isinstance(row, dict):
            raise InputError(f"{path}, line {number}: allowed is one object a line")
        rows.append(row)
    return pa.Table.from_pylist(rows)


def _parquet(path: Path, header: bool) -> pa.Table:
    return pyarrow.parquet.read_table(path)


READERS: dict[str, Callable[[Path, bool], pa.Table]] = {
    ".csv": _csv,
    ".tsv": _tsv,
    ".json": _json,
    ".jsonl": _jsonl,
    ".parquet": _parquet,
}
