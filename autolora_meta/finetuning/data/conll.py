"""Sentences from CoNLL and IOB files: a token and its tag a line, then an empty line."""

import re
from array import array
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TextIO

import pyarrow as pa

from autolora_meta.errors import InputError
from autolora_meta.finetuning.data import text_file
from autolora_meta.finetuning.data.tags import is_entity_tags
from autolora_meta.finetuning.data.text_file import Read
from autolora_meta.foundation.progress import Say

# Lines that begin or end a document and are no token: CoNLL's, and those of the JNLPBA task.
DOCUMENT = ("-docstart-", "-docend-", "###medline:")
_COMMENT = re.compile(r"#+(\s.*)?|#(begin|end)")  # the first field of one
_NAMES = {  # of fields, in a line that is a header
    *("token", "tokens", "word", "words", "form", "text", "lemma", "id", "index", "sentence"),
    *("tag", "tags", "label", "labels", "ner", "ner_tag", "ner_tags", "pos", "pos_tag", "chunk"),
}
_NUMBER = re.compile(r"\d+([-.]\d+)?")  # of a word, of a range of words, of an empty one

Sentence = list[tuple[int, list[str]]]  # the lines of a sentence: number and fields


def read(
    path: Path,
    tokens: str | None = None,
    tags: str | None = None,
    say: Say = lambda words: None,
) -> Read:
    """Return sentences with the columns tokens and tags.

    The token is a line's first field and the tag its last. Two things are seen and said: tags of
    entities that stand first, and a first field that numbers the words. Every other field is a
    column named by its number, so that `data.tags: "2"` reads that. Fields are divided by tabs, or
    by spaces in a file whose first token has no tab. Lines before the first token of a sentence
    that begin with # and are not built as a token and its tag are comments; so is a first line of
    names of fields.

    Args:
        path: the file.
        tokens: the number of the field of the tokens, from 1; None: as above.
        tags: that of the field of the tags.
        say: told what is read other than by that rule.

    Returns:
        One row for each sentence, and the line on which it begins.

    Raises:
        InputError: a line has another number of fields than the first, or an empty one, or which
            fields hold tokens and tags cannot be told.
    """
    with text_file.opened(path) as file:
        blocks = list(_blocks(file))
    sentences, comments = _parsed(path, blocks, tags)
    if comments:
        say(f"{path}: {len(comments)} comment lines left out, the first is line {comments[0]}")
    if not sentences:
        return pa.table({}), array("q")
    width = len(sentences[0][0][1])
    columns = [[[fields[i] for _, fields in rows] for rows in sentences] for i in range(width)]
    lines = array("q", (rows[0][0] for rows in sentences))
    names = [str(i + 1) for i in range(width)]
    places = _places(path, columns, lines, (_place(tokens, width), _place(tags, width)), say)
    for name, given, place in zip(("tokens", "tags"), (tokens, tags), places, strict=True):
        if given is None or not given.isdigit():
            names[place] = name
    strings = pa.list_(pa.string())
    table = {name: pa.array(column, strings) for name, column in zip(names, columns, strict=True)}
    return pa.table(table), lines


def _blocks(file: TextIO) -> Iterator[list[tuple[int, str]]]:
    """Yield lines that stand together, with their numbers, without those of documents."""
    block: list[tuple[int, str]] = []
    for number, line in text_file.numbered(file):
        if line.strip() and not line.lower().startswith(DOCUMENT):
            block.append((number, line))
        elif block:
            yield block
            block = []
    if block:
        yield block


def _parsed(
    path: Path, blocks: Sequence[list[tuple[int, str]]], tags: str | None
) -> tuple[list[Sentence], list[int]]:
    """Return the sentences, and the lines of comments."""
    first = next((at for block in blocks for at in block if not at[1].startswith("#")), None)
    if first is None:
        return [], [number for block in blocks for number, _ in block]
    delimiter = r"\t" if "\t" in first[1] else r"[ \t]+"
    width = len(_fields(first[1], delimiter))
    if width < 2:
        raise InputError(
            f"{path}, line {first[0]}: one field, '{first[1].strip()[:40]}'; a token and its tag "
            "are needed on each line, divided by a tab or a space"
        )
    sentences: list[Sentence] = []
    comments: list[int] = []
    for block in blocks:
        rows: Sentence = []
        for number, line in block:
            fields = _fields(line, delimiter)
            whole = len(fields) == width and all(fields)
            if not whole and not rows and line.startswith("#"):
                comments.append(number)
            elif not whole:
                raise InputError(
                    f"{path}, line {number}: {len(fields)} fields, {fields.count('')} of them "
                    f"empty; the first line has {width}: a token and its tag are needed, and an "
                    "empty line between sentences"
                )
            else:
                rows.append((number, fields))
        sentences.append(rows)
    place = _place(tags, width)
    comments += _taken_out(path, sentences, width - 1 if place is None else place)
    return [rows for rows in sentences if rows], sorted(comments)


def _taken_out(path: Path, sentences: Sequence[Sentence], tag: int) -> list[int]:
    """Take comments and names of fields out of the sentences, and return their lines.

    They have as many words as a token has fields, and no tag in the field of the tag.

    Raises:
        InputError: one stands inside a sentence.
    """
    found: list[int] = []
    if sentences[0] and {name.lower() for name in sentences[0][0][1]} <= _NAMES:
        found.append(sentences[0].pop(0)[0])
    comment = _COMMENT.fullmatch
    known = {row[tag] for rows in sentences for _, row in rows if not comment(row[0])} | {"#"}
    for rows in sentences:
        while rows and comment(rows[0][1][0]) and rows[0][1][tag] not in known:
            found.append(rows.pop(0)[0])
        for number, row in rows:
            if comment(row[0]) and row[tag] not in known:
                raise InputError(
                    f"{path}, line {number}: '{' '.join(row)[:40]}' looks like a comment inside a "
                    f"sentence, as no other line has the tag '{row[tag]}'; put an empty line "
                    "before it, or take it out"
                )
    return found


def _fields(line: str, delimiter: str) -> list[str]:
    return [field.strip() for field in re.split(delimiter, line.strip(" \r\n"))]


def _place(field: str | None, width: int) -> int | None:
    """Return where a field named by its number stands; None: it is no number, or not there."""
    named = field is not None and field.isdigit() and 1 <= int(field) <= width
    return int(field) - 1 if named and field is not None else None


def _places(
    path: Path,
    columns: Sequence[list[list[str]]],
    lines: Sequence[int],
    given: tuple[int | None, int | None],
    say: Say,
) -> tuple[int, int]:
    """Return the fields of the tokens and of the tags, from 0."""
    tokens, tags = given
    last = len(columns) - 1
    found = [{value for sentence in column for value in sentence} for column in columns]
    if last > 1 and all(map(_NUMBER.fullmatch, found[0])) and _counts_up(path, columns[0], lines):
        tokens = 1 if tokens is None else tokens
        varied = [i for i in range(1, last + 1) if i != tokens and len(found[i]) > 1]
        if tags is None and len(varied) > 1:
            shown = "; ".join(f"{i + 1} ({', '.join(sorted(found[i])[:5])})" for i in varied)
            raise InputError(
                f"{path}, line {lines[0]}: the first field numbers the words, and several of the "
                f"others may be their tags: {shown}; name one, for example data.tags: "
                f"'{varied[0] + 1}'"
            )
        if tags is None:
            tags = varied[0] if varied else last
        say(f"{path}: the first field numbers the words; tokens are field {tokens + 1}")
    elif given == (None, None):
        if is_entity_tags(found[0]) and not is_entity_tags(found[last]):
            say(f"{path}: tags are the first field, tokens the last")
            return last, 0
        if len(found[last]) > len(found[0]):
            raise InputError(
                f"{path}, line {lines[0]}: the first field holds {len(found[0])} different tokens "
                f"and the last {len(found[last])} different tags; if other fields hold them, name "
                "these, for example data.tokens: '2' and data.tags: '1'"
            )
    if tokens is None:
        tokens = 0 if tags != 0 else last
    if tags is None:
        tags = last if tokens != last else 0
    return tokens, tags


def _counts_up(path: Path, column: list[list[str]], lines: Sequence[int]) -> bool:
    """Return whether a field numbers the words of each sentence.

    Raises:
        InputError: it does, and numbers ranges of words besides, which would be words twice.
    """
    if not all(words[0].split("-")[0] in ("0", "1") for words in column):
        return False
    for line, words in zip(lines, column, strict=True):
        for i, word in enumerate(words):
            if not word.isdigit():
                raise InputError(
                    f"{path}, line {line + i}: '{word}' numbers a range of words, or an empty one; "
                    "take such lines out, or give a file without numbers"
                )
            if int(word) - int(words[0]) != i:
                return False
    return True
