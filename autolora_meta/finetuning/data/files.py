"""One file becomes rows; its ending says how, and for text files what the task reads."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import datasets
import pyarrow as pa
import pyarrow.parquet
from datasets import Dataset
from datasets.exceptions import DatasetGenerationError

from autolora_meta.errors import InputError, unknown
from autolora_meta.finetuning.data import conll, delimited, tables, text_lines
from autolora_meta.finetuning.data.part import Part
from autolora_meta.finetuning.data.roles import Role


@dataclass(frozen=True)
class Layout:
    """What text files hold for a task.

    Args:
        kind: of what stands in them.
        tokens, tags: the fields of a CoNLL file that the person named by number, if any.
        say: told how a file is read, where that is not as its ending says.
    """

    kind: Literal["table", "bare table", "tags", "references", "texts"]
    tokens: str | None = None
    tags: str | None = None
    say: Callable[[str], None] = lambda words: None


def layout(
    roles: Sequence[Role],
    columns: Mapping[str, str | None],
    say: Callable[[str], None] = lambda words: None,
) -> Layout:
    """What text files hold for a task with these roles.

    Args:
        roles: what the task reads.
        columns: the column that the person named for each role; a table has no header line where
            one is a number.
        say: told how a file is read, where that is not as its ending says.
    """
    kinds = {role.kind for role in roles}
    if "tags" in kinds:
        by_kind = {role.kind: columns.get(role.name) for role in roles}
        return Layout("tags", by_kind.get("tokens"), by_kind["tags"], say)
    if any(column is not None and column.isdigit() for column in columns.values()):
        return Layout("bare table", say=say)
    if "references" in kinds:
        return Layout("references", say=say)
    return Layout("texts" if kinds == {"text"} else "table", say=say)


def read(path: Path, laid_out: Layout, name: str) -> Part:
    """The rows of a file.

    Text is UTF-8, UTF-16 or UTF-32. A csv file is read with the usual quoting; a tsv file without
    any, as GLUE's are: there a quote is a character like others. A tsv or txt file holds a token
    and its tag a line where the task reads tags; a txt file holds `meaning||reference` where it
    reads references, and a text a line where it reads texts alone. Parquet and arrow files are read
    by `datasets`, which keeps them on disk; other files are held in memory.

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
    except InputError:
        raise
    # Whatever a broken file makes the libraries stumble over.
    except (OSError, ValueError, pa.ArrowException, DatasetGenerationError) as error:
        raise InputError(
            f"data.source '{path}' cannot be read as a table: {str(error).strip()}"
        ) from None
    if not len(part.rows):
        raise InputError(f"data.source '{path}' holds no rows")
    return part


def _csv(path: Path, laid_out: Layout, name: str) -> Part:
    return _table(path, laid_out, name, ",")


def _tsv(path: Path, laid_out: Layout, name: str) -> Part:
    if laid_out.kind == "tags":
        return _conll(path, laid_out, name)
    return _table(path, laid_out, name, "\t")


def _table(path: Path, laid_out: Layout, name: str, delimiter: str) -> Part:
    header = laid_out.kind != "bare table"
    return _text(delimited.read(path, header, delimiter, laid_out.say), path, name)


def _txt(path: Path, laid_out: Layout, name: str) -> Part:
    if laid_out.kind == "tags":
        return _conll(path, laid_out, name)
    if laid_out.kind == "references":
        return _text(text_lines.meanings(path), path, name)
    if laid_out.kind == "texts":
        return _text(text_lines.texts(path), path, name)
    raise InputError(
        f"data.source '{path}': a txt file holds tokens and tags, meanings and references, or "
        "texts alone, and this task reads something else; give a csv, tsv, json, jsonl or parquet "
        "file"
    )


def _conll(path: Path, laid_out: Layout, name: str) -> Part:
    return _text(
        conll.read(path, laid_out.tokens, laid_out.tags, laid_out.say), path, name, token_lines=True
    )


def _json(path: Path, laid_out: Layout, name: str) -> Part:
    return _text(tables.json_rows(path), path, name)


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


READERS: dict[str, Callable[[Path, Layout, str], Part]] = {
    ".csv": _csv,
    ".tsv": _tsv,
    ".txt": _txt,
    ".conll": _conll,
    ".iob": _conll,
    ".iob2": _conll,
    ".bio": _conll,
    ".conllu": _conll,
    ".json": _json,
    ".jsonl": _json,
    ".ndjson": _json,
    ".parquet": _parquet,
    ".arrow": _arrow,
}
