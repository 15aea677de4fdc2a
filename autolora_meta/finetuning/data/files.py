"""Rows of one file; its ending says how it is read and, for text files, what the task reads."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import datasets
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet
from datasets import Dataset
from datasets.exceptions import DatasetGenerationError

from autolora_meta.errors import InputError, unknown
from autolora_meta.finetuning.data import conll, delimited, json_rows, text_file, text_lines
from autolora_meta.finetuning.data.part import Part, refuse_damaged
from autolora_meta.finetuning.data.roles import Role
from autolora_meta.finetuning.data.text_file import Read
from autolora_meta.foundation.disk import unwritten
from autolora_meta.foundation.progress import Say

_DELIMITED = {".csv": ",", ".tsv": "\t"}
_CONLL = (".conll", ".iob", ".iob2", ".bio", ".conllu")
_JSON = (".json", ".jsonl", ".ndjson")
_BINARY = (".parquet", ".arrow")
ENDINGS = (*_DELIMITED, ".txt", *_CONLL, *_JSON, *_BINARY)


@dataclass(frozen=True)
class Layout:
    """What files hold for a task.

    Args:
        kind: of what stands in text files.
        pictures: whether folders hold pictures.
        tokens, tags: the columns that the person named, by number in a CoNLL file.
        say: told what is not read, or read otherwise than an ending says.
    """

    kind: Literal["table", "bare table", "tags", "references", "texts"]
    pictures: bool
    tokens: str | None
    tags: str | None
    say: Say


def layout(
    roles: Sequence[Role], columns: Mapping[str, str | None], say: Say = lambda words: None
) -> Layout:
    """Return what files hold for a task with these roles.

    Args:
        roles: what the task reads.
        columns: the column that the person named for each role; a table has no header line where
            one is a number.
        say: told what is not read, or read otherwise than an ending says.
    """
    named = {role.kind: columns.get(role.name) for role in roles}
    if "tags" in named:
        kind = "tags"
    elif any(column is not None and column.isdigit() for column in columns.values()):
        kind = "bare table"
    elif "references" in named:
        kind = "references"
    else:
        kind = "texts" if named.keys() == {"text"} else "table"
    return Layout(kind, "image" in named, named.get("tokens"), named.get("tags"), say)


def read(path: Path, laid_out: Layout, name: str) -> Part:
    """Return the rows of a file as the split `name`.

    Text is UTF-8, UTF-16 or UTF-32. A csv file is read with the usual quoting; a tsv file without
    any, as GLUE's are: there a quote is a character like others. A tsv or txt file holds a token
    and its tag a line where the task reads tags; a txt file holds `meaning||reference` where it
    reads references, and a text a line where it reads texts alone. Parquet and arrow files are read
    by `datasets`, which keeps them on disk; other files are held in memory.

    Raises:
        InputError: the ending is not known, or the file is empty or broken; the message names the
            line.
    """
    ending = path.suffix.lower()
    if ending not in ENDINGS:
        raise InputError(f"data.source '{path}': {unknown('ending', path.suffix, ENDINGS)}")
    if not path.stat().st_size:
        raise InputError(f"data.source '{path}' is an empty file")
    tagged = ending in _CONLL or (laid_out.kind == "tags" and ending in (".tsv", ".txt"))
    try:
        if ending in _BINARY:
            part = Part(_stored(path, ending), name, path)
        else:
            table, lines = _text(path, ending, laid_out, tagged)
            unit = "token" if tagged else "row" if lines is None else "line"
            part = Part(Dataset(table), name, path, lines, unit)
    except InputError:
        raise
    # Whatever a broken file makes the libraries stumble over.
    except (
        OSError,
        ValueError,
        RecursionError,
        pa.ArrowException,
        DatasetGenerationError,
    ) as error:
        if unwritten(error):  # what `datasets` writes beside it
            raise
        reason = str(error).strip()
        if isinstance(error, RecursionError) or reason.startswith("Recursion level"):
            reason = "it is nested too deep"
        raise InputError(f"data.source '{path}' cannot be read as a table: {reason}") from None
    if not len(part.rows):
        raise InputError(f"data.source '{path}' holds no rows")
    _refuse_giant(part)
    return part


def _text(path: Path, ending: str, laid_out: Layout, tagged: bool) -> Read:
    if tagged:
        return conll.read(path, laid_out.tokens, laid_out.tags, laid_out.say)
    if ending in _DELIMITED:
        header = laid_out.kind != "bare table"
        return delimited.read(path, header, _DELIMITED[ending], laid_out.say)
    if ending in _JSON:
        return json_rows.read(path)
    if laid_out.kind in ("references", "texts"):
        return text_lines.read(path, references=laid_out.kind == "references")
    raise InputError(
        f"data.source '{path}': a txt file holds tokens and tags, meanings and references, or "
        "texts alone, and this task reads something else; give a csv, tsv, json, jsonl or parquet "
        "file"
    )


def _stored(path: Path, ending: str) -> Dataset:
    # Read through first: what is wrong is said more clearly than by `datasets`, and damage to
    # lengths and texts is found, which libraries follow without a look.
    if ending == ".parquet":
        with pyarrow.parquet.ParquetFile(path) as file:
            for batch in file.iter_batches():
                refuse_damaged(batch)
    else:
        with pa.memory_map(str(path)) as source:
            for batch in _batches(source):
                refuse_damaged(batch)
    rows = datasets.load_dataset(ending[1:], data_files=str(path), split="train")
    assert isinstance(rows, Dataset)
    return rows


def _batches(source: pa.MemoryMappedFile) -> Iterator[pa.RecordBatch]:
    """Yield the batches of an arrow file in either of the two forms."""
    try:
        yield from pa.ipc.open_stream(source)
        return
    except pa.ArrowInvalid:
        whole = pa.ipc.open_file(source)
    yield from (whole.get_batch(i) for i in range(whole.num_record_batches))


def _refuse_giant(part: Part) -> None:
    """Refuse a text that no tokenizer reads in seconds.

    Raises:
        InputError: there is one; the message names its column and row.
    """
    for name, column in zip(part.rows.column_names, part.rows.data.itercolumns(), strict=True):
        if not (pa.types.is_string(column.type) or pa.types.is_large_string(column.type)):
            continue
        lengths = pc.binary_length(column)
        longest = pc.max(lengths).as_py() or 0
        if longest > text_file.LONGEST:
            row = pc.index(lengths, longest).as_py()
            raise InputError(
                f"{part.place(row)}: column '{name}' holds a text of {longest:,} bytes; at most "
                f"{text_file.LONGEST:,} are read: cut it into several rows"
            )
