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

from autolora_meta.foundation.places import naming

_SEALED = re.compile(rb'(.*), "sha256": "([0-9a-f]{16})"\}')


def append(file: Path, *rows: Mapping[str, Any]) -> None:
    """Write lines: they are on the disk when this returns, and no part of any when this fails.

    They are handed to the system in one piece, so that a kill leaves all or none of them.

    Args:
        file: of whole lines, or not there yet.
        rows: not empty.
    """
    number = file.read_bytes().count(b"\n") if file.is_file() else 0
    lines = b"".join(_sealed(number + below, row) for below, row in enumerate(rows))
    with naming(file), file.open("ab", buffering=0) as opened:
        before = opened.tell()
        try:
            while lines:  # a disk that fills takes a part, and refuses the rest
                lines = lines[opened.write(lines) :]
            os.fsync(opened.fileno())
        except BaseException:
            opened.truncate(before)
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


def _sealed(number: int, row: Mapping[str, Any]) -> bytes:
    content = json.dumps(row).encode()
    return content[:-1] + f', "sha256": "{_hash(number, content)}"}}\n'.encode()


def _hash(number: int, content: bytes) -> str:
    return hashlib.sha256(b"%d %b" % (number, content)).hexdigest()[:16]
