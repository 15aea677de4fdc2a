"""Lines of JSON, each with a hash of its place and its content, by which damage is found.

A file grows a line at a time, and a process that is killed may leave half of the last one. So each
line holds its own hash: a changed one is found, and one that stands in another place, since a line
before it is gone or two were exchanged. A line that is made empty keeps the places of the others.
"""

import hashlib
import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_SEALED = re.compile(rb'(.*), "sha256": "([0-9a-f]{16})"\}')


def append(file: Path, row: Mapping[str, Any]) -> None:
    """Write a line; it is on the disk when this returns, and none of it if it fails.

    Args:
        file: of whole lines, or not there yet.
        row: not empty.
    """
    number = file.read_bytes().count(b"\n") if file.is_file() else 0
    content = json.dumps(row).encode()
    line = content[:-1] + f', "sha256": "{_hash(number, content)}"}}\n'.encode()
    before = file.stat().st_size if file.is_file() else 0
    try:
        with file.open("ab") as opened:
            opened.write(line)
            opened.flush()
            os.fsync(opened.fileno())
    except OSError:  # a disk that is full took a part of it
        if file.is_file():
            os.truncate(file, before)
        raise


def unsealed(number: int, line: bytes) -> bytes:
    """Return a line without its hash, as it is if it has none.

    Args:
        number: of the line, from 0.
        line: without its newline.

    Raises:
        ValueError: it is another line than was written there.
    """
    if (found := _SEALED.fullmatch(line)) is None:
        return line
    content = found[1] + b"}"
    if _hash(number, content).encode() != found[2]:
        raise ValueError("it has changed, or a line before it is gone")
    return content


def _hash(number: int, content: bytes) -> str:
    return hashlib.sha256(b"%d %b" % (number, content)).hexdigest()[:16]
