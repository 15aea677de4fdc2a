"""A full disk, told from the errors of every library that writes."""

import errno
import os
import pickle
import shutil
from pathlib import Path

import pytest
from safetensors import SafetensorError

from autolora_meta.errors import Unwritten
from autolora_meta.finetuning.loading import reason
from autolora_meta.foundation.disk import unwritten
from autolora_meta.foundation.places import naming

NUMBERS = {
    errno.ENOSPC: "make room on the disk",
    errno.EDQUOT: "quota",
    errno.EFBIG: "ulimit -f",
    errno.EROFS: "let the disk be written to",
}


@pytest.mark.parametrize(("number", "mend"), NUMBERS.items())
def test_a_disk_that_takes_nothing_is_named_with_what_to_do(
    number: int, mend: str, tmp_path: Path
) -> None:
    with pytest.raises(OSError) as caught, naming(tmp_path / "table.json"):
        raise OSError(number, "words of the system")
    found = unwritten(pickle.loads(pickle.dumps(caught.value)))  # it may come from a worker
    assert isinstance(found, Unwritten) and found.status == 2
    said = str(found)
    assert said.startswith(f"'{tmp_path / 'table.json'}': {os.strerror(number)} (")
    assert f"MiB are free in {tmp_path})" in said and mend in said
    assert "what has finished is kept: " in said and said.endswith("give the same command again")


@pytest.mark.parametrize(
    "error",
    [
        SafetensorError("Error while serializing: I/O error: Os { code: 28 } (os error 28)"),
        shutil.Error([("a", "b", "[Errno 28] No space left on device: 'b'")]),
        FileNotFoundError(2, "No usable temporary directory found in ['/tmp', '/var/tmp']"),
    ],
)
def test_libraries_that_tell_it_in_words_are_understood(error: Exception) -> None:
    assert isinstance(unwritten(error), Unwritten)


@pytest.mark.parametrize(
    "error", [ValueError("x"), RuntimeError("shapes"), OSError(2, "not there"), OSError("words")]
)
def test_other_errors_stay_what_they_are(error: Exception) -> None:
    assert unwritten(error) is None


def test_what_libraries_make_of_it_is_looked_behind() -> None:
    wrapped = RuntimeError("An error occurred while generating the dataset")
    wrapped.__cause__ = OSError(errno.ENOSPC, "No space left on device")
    assert isinstance(unwritten(wrapped), Unwritten)


def test_a_disk_that_is_full_is_not_taken_for_a_damaged_model() -> None:
    with pytest.raises(OSError, match="No space"):
        reason(OSError(errno.ENOSPC, "No space left on device"))
