"""A finished run whose files are damaged: refused by name, or read as if they were whole."""

import random
import shutil
from collections.abc import Collection
from itertools import islice
from pathlib import Path

from tests.damaged_run import READERS, Damage, damages, fault, readers
from tests.end_to_end import Tiny, command


def test_every_reader_names_the_damaged_file_or_gives_what_it_gave(
    tiny: Tiny, tmp_path: Path
) -> None:
    _swept(tiny.run, tiny.config, tmp_path / "tiny", READERS)


def test_so_does_every_reader_of_a_search(tiny: Tiny, tmp_path: Path) -> None:
    assert command("search", tiny.config, "name=mine", "--runs", tmp_path).status == 0
    read = ("allocate", "export", "retrain", "figures")
    _swept(tmp_path / "mine", tiny.config, tmp_path / "copy", read)


def test_a_page_misses_the_ranks_of_a_finished_run(tiny: Tiny, tmp_path: Path) -> None:
    shutil.copytree(tiny.run, folder := tmp_path / "tiny")
    read_by = {"page": readers(tiny.config, folder)["page"]}
    whole = {"page": read_by["page"]()}
    every = [str(file.relative_to(folder)) for file in folder.glob("runs/*/*/*/ranks.json")]
    for name in every:
        damage = Damage(name, "delete", 0)
        damage.do(folder, None)
        assert fault(damage, read_by, whole) is None, name
        shutil.copy(tiny.run / name, folder / name)


def _swept(kept: Path, config: Path, folder: Path, read: Collection[str]) -> None:
    shutil.copytree(kept, folder)
    read_by = {name: call for name, call in readers(config, folder).items() if name in read}
    whole = {name: read() for name, read in read_by.items()}
    for damage in islice(damages(folder, random.Random(0)), 60):
        damage.do(folder, None)
        assert (said := fault(damage, read_by, whole)) is None, said
        shutil.copy(kept / damage.name, folder / damage.name)
