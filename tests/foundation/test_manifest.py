"""The manifest of a folder: damage is named, and a writer that is killed leaves none."""

import shutil
import subprocess
from pathlib import Path

import pytest

from autolora_meta.errors import InputError
from autolora_meta.foundation import manifest


def test_what_changed_or_went_is_named(tmp_path: Path) -> None:
    manifest.write_sealed(tmp_path, {"a.json": "{}", "b.json": "[]"})
    manifest.refuse_damaged(tmp_path, "again", "a.json", "b.json", "c.json")
    (tmp_path / "a.json").write_text("{ }")
    assert not manifest.whole(tmp_path / "a.json") and manifest.whole(tmp_path / "b.json")
    manifest.refuse_damaged(tmp_path, "again", "b.json")
    with pytest.raises(InputError, match=r"a\.json is damaged: .*manifest-sha256\.txt; again"):
        manifest.refuse_damaged(tmp_path, "again", "a.json")
    (tmp_path / "b.json").unlink()
    with pytest.raises(InputError, match=r"b\.json is missing, .*; again"):
        manifest.refuse_damaged(tmp_path, "again", "b.json")
    (tmp_path / manifest.FILE).write_text("broken\n")
    with pytest.raises(InputError, match=r"manifest-sha256\.txt, line 1, "):
        manifest.refuse_damaged(tmp_path, "again", "a.json")
    (tmp_path / manifest.FILE).unlink()  # as of an older version
    manifest.refuse_damaged(tmp_path, "again", "a.json", "b.json")


def test_a_writer_that_is_killed_leaves_a_file_without_a_hash(tmp_path: Path) -> None:
    manifest.write_sealed(tmp_path, {"a.json": "{}", "b.json": "[]"})
    with pytest.raises(KeyboardInterrupt), manifest.sealing(tmp_path, "a.json"):
        (tmp_path / "a.json").write_text("other")
        raise KeyboardInterrupt
    assert manifest.names(tmp_path) == ("b.json",)
    manifest.refuse_damaged(tmp_path, "again", "a.json", "b.json")


@pytest.mark.skipif(shutil.which("sha256sum") is None, reason="no sha256sum here")
def test_sha256sum_reads_it(tmp_path: Path) -> None:
    manifest.write_sealed(tmp_path, {"a b.json": "{}"})
    check = ["sha256sum", "--check", "--strict", manifest.FILE]
    assert subprocess.run(check, cwd=tmp_path, capture_output=True).returncode == 0
