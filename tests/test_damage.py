"""A finished run whose files are damaged: refused by name, or read as if they were whole."""

import random
import shutil
from itertools import islice
from pathlib import Path

from tests.damaged_run import damages, fault, readers
from tests.end_to_end import Tiny


def test_every_reader_names_the_damaged_file_or_gives_what_it_gave(
    tiny: Tiny, tmp_path: Path
) -> None:
    folder = tmp_path / "tiny"
    shutil.copytree(tiny.run, folder)
    read_by = readers(tiny.config, folder)
    whole = {name: read() for name, read in read_by.items()}
    for damage in islice(damages(folder, random.Random(0)), 60):
        damage.do(folder, None)
        assert (said := fault(damage, read_by, whole)) is None, said
        shutil.copy(tiny.run / damage.name, folder / damage.name)
