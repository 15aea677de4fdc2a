"""A file of sealed lines: what changed, moved or went is found, half a last line is no damage."""

import errno
import json
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from autolora_meta.errors import InputError
from autolora_meta.foundation.json_files import read_rows
from autolora_meta.foundation.sealed_lines import append

ROWS = [{"id": "a", "cost": 1.5}, {"id": "b", "name": "ä\n"}, {"id": "a", "cost": 2.5}]


def written(file: Path) -> list[bytes]:
    for row in ROWS:
        append(file, row)
    assert read_rows(file) == ROWS
    return file.read_bytes().splitlines(keepends=True)


def test_lines_that_changed_moved_or_went_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    one, two, three = written(file)
    for damaged, number in (
        ([one, three], 2),  # cut
        ([two, one, three], 1),  # exchanged
        ([one, one, three], 2),  # twice
        ([one, two.replace(b"b", b"c"), three], 2),
        ([one, two.rstrip() + three], 2),
    ):
        file.write_bytes(b"".join(damaged))
        with pytest.raises(InputError, match=rf"rows\.jsonl, line {number}, .*put back"):
            read_rows(file)


def test_a_line_may_be_emptied_or_half_written_and_the_rest_is_read(tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    one, _, three = written(file)
    file.write_bytes(one + b"\n" + three)
    assert read_rows(file) == [ROWS[0], ROWS[2]]
    append(file, ROWS[1])
    assert read_rows(file) == [ROWS[0], ROWS[2], ROWS[1]]
    file.write_bytes(one + three[:20])
    assert read_rows(file) == ROWS[:1]


def test_lines_of_older_versions_are_taken(tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_text(json.dumps(ROWS[0]) + "\n")
    append(file, ROWS[1])
    assert read_rows(file) == ROWS[:2]


@pytest.fixture
def limit() -> Iterator[Callable[[int], None]]:
    """Return what lets no file of this process grow over so many bytes, as a disk that is full."""
    resource = pytest.importorskip("resource")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield lambda size: resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_disk_that_fills_in_a_line_takes_none_of_it(
    tmp_path: Path, limit: Callable[[int], None]
) -> None:
    file = tmp_path / "rows.jsonl"
    whole = b"".join(written(file))
    limit(len(whole) + 10)
    with pytest.raises(OSError, match=re.escape(str(file))):
        append(file, {"a": 4})
    limit(len(whole) + 1000)
    assert file.read_bytes() == whole
    append(file, {"a": 4})
    assert read_rows(file) == [*ROWS, {"a": 4}]


def test_a_line_that_does_not_fit_on_the_disk_leaves_none_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "rows.jsonl"
    whole = b"".join(written(file))
    with monkeypatch.context() as full, pytest.raises(OSError, match="No space"):
        full.setattr(os, "fsync", _full)
        append(file, ROWS[0])
    assert file.read_bytes() == whole
    append(file, ROWS[0])
    assert read_rows(file) == [*ROWS, ROWS[0]]


def _full(_: int) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
