"""One file becomes rows; its ending says how, and for text files what the task reads."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

import datasets
import pyarrow as pa
import pyarrow.parquet
from datasets import Dataset

from autolora_meta.errors import InputError, unknown
from autolora_meta.finetuning.data import conll, tables, text_lines
from autolora_meta.finetuning.data.part import Part
from autolora_meta.finetuning.data.roles import Role

Layout = Literal["table", "bare table", "tags", "references", "texts"]


def layout(roles: Sequence[Role], columns: Sequence[str | None]) -> Layout:
    """What text files hold for a task with these roles.

    Args:
        roles: what the task reads.
        columns: the columns that the person named; a table has no header line where one is a
            number.
    """
    kinds = {role.kind for role in roles}
    if "tags" in kinds:
        return "tags"
    if any(column is not None and column.isdigit() for column in columns):
        return "bare table"
    if "references" in kinds:
        return "references"
    return "texts" if kinds == {"text"} else "table"


def read(path: Path, laid_out: Layout, name: str) -> Part:
    """The rows of a file.

    Text is UTF-8. A csv file is read with the usual quoting; a tsv file without any, as GLUE's are:
    there a quote is a character like others. A tsv or txt file holds a token and its tag a line
    where the task reads tags; a txt file holds `meaning||reference` where it reads references, and
    a text a line where it reads texts alone. Parquet and arrow files are read by `datasets`, which
    keeps them on disk; other files are held in memory.

    Raises:
        InputError: an ending that is not known, an empty file, or a broken one (with its line).
    """
    reader = READERS.get(path.suffix.lower())
    if reader is None:
        raise InputError(f"data.source '{path}': {unknown('ending', path.suffix, READERS)}")
    if not path.stat().st_size:
        raise InputError(f"data.source '{path}' is an empty file")
    try:
        part = reader(path, laid_out, name)
    except UnicodeDecodeError:
        raise InputError(_encoding(path)) from None
    except (pa.ArrowException, datasets.exceptions.DatasetGenerationError) as error:
        raise InputError(f"data.source '{path}' cannot be read as a table: {error}") from None
    if not len(part.rows):
        raise InputError(f"data.source '{path}' holds no rows")
    return part


def _csv(path: Path, laid_out: Layout, name: str) -> Part:
    header = laid_out != "bare table"
    return _text(tables.delimited(path, header, ",", quotes=True), path, name)


def _tsv(path: Path, laid_out: Layout, name: str) -> Part:
    if laid_out == "tags":
        return _conll(path, laid_out, name)
    header = laid_out != "bare table"
    return _text(tables.delimited(path, header, "\t", quotes=False), path, name)


def _txt(path: Path, laid_out: Layout, name: str) -> Part:
    if laid_out == "tags":
        return _conll(path, laid_out, name)
    if laid_out == "references":
        return _text(text_lines.meanings(path), path, name)
    if laid_out == "texts":
        return _text(text_lines.texts(path), path, name)
    raise InputError(
        f"data.source '{path}': a txt file holds tokens and tags, meanings and references, or "
        "texts alone, and this task reads something else; give a csv, tsv, json, jsonl or parquet "
        "file"
    )


def _conll(path: Path, laid_out: Layout, name: str) -> Part:
    return _text(conll.read(path), path, name, token_lines=True)


def _json(path: Path, laid_out: Layout, name: str) -> Part:
    return _text(tables.json_list(path), path, name)


def _jsonl(path: Path, laid_out: Layout, name: str) -> Part:
    return _text(tables.json_lines(path), path, name)


def _text(
    read: tuple[pa.Table, tables.Lines], path: Path, name: str, *, token_lines: bool = False
) -> Part:
    table, lines = read
    return Part(Dataset(table), name, path, lines, token_lines)


def _parquet(path: Path, laid_out: Layout, name: str) -> Part:
    pyarrow.parquet.read_metadata(path)  # says what is wrong more clearly than `datasets` does
    return Part(_cached("parquet", path), name, path)


def _arrow(path: Path, laid_out: Layout, name: str) -> Part:
    with pa.memory_map(str(path)) as source:
        try:
            pa.ipc.open_stream(source)
        except pa.ArrowInvalid:
            pa.ipc.open_file(source)
    return Part(_cached("arrow", path), name, path)


def _cached(builder: str, path: Path) -> Dataset:
    rows = datasets.load_dataset(builder, data_files=str(path), split="train")
    assert isinstance(rows, Dataset)
    return rows


def _encoding(path: Path) -> str:
    """Which line is no UTF-8, in words."""
    with open(path, "rb") as file:
        for number, line in enumerate(file, start=1):
            try:
                line.decode("utf-8")
            except UnicodeDecodeError as error:
                byte = line[error.start]
                return (
                    f"{path}, line {number}: the file is not UTF-8 text (byte {byte:#04x}); "
                    f"convert it, for example: iconv -f LATIN1 -t UTF-8 {path.name}"
                )
    return f"{path}: the file is not UTF-8 text"


READERS: dict[str, Callable[[Path, Layout, str], Part]] = {
    ".csv": _csv,
    ".tsv": _tsv,
    ".txt": _txt,
    ".conll": _conll,
    ".iob": _conll,
    ".iob2": _conll,
    ".bio": _conll,
    ".json": _json,
    ".jsonl": _jsonl,
    ".parquet": _parquet,
    ".arrow": _arrow,
}
