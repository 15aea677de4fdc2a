"""The page of a run or of a study: one HTML file that opens from disk."""

from pathlib import Path
from typing import Any

from autolora_meta.config.run import CHANGED, RunConfig
from autolora_meta.errors import InputError
from autolora_meta.foundation import manifest
from autolora_meta.foundation.places import replace_text
from autolora_meta.reporting.caveats import reserves, warnings
from autolora_meta.reporting.course import courses
from autolora_meta.reporting.document import Document
from autolora_meta.reporting.headroom import around, headroom_sections
from autolora_meta.reporting.how_much import sections as how_much
from autolora_meta.reporting.race import sections as race
from autolora_meta.reporting.sections import (
    comparisons,
    cost,
    failed,
    in_words,
    ranks_and_search,
    settings_table,
)
from autolora_meta.reporting.sections_use import adapter, again, rows, settings
from autolora_meta.reporting.sentences import answer
from autolora_meta.studies.headroom import measured
from autolora_meta.studies.labels import value_label
from autolora_meta.studies.ledger import STUDY
from autolora_meta.studies.table import FILE as TABLE
from autolora_meta.studies.table import StudyTable

FILE = "report.html"


def page(folder: str | Path) -> Path:
    """Write `report.html` into the folder of a run or of a study, from what stands there.

    The page needs no other file and no network. Its figures are those in `figures/`
    (`figures.draw_all` draws them). Equal results give equal bytes, but for the seconds that are
    told apart in its tables.

    Args:
        folder: what `autolora-meta run` or `autolora-meta study` wrote.

    Returns:
        The path of the page.

    Raises:
        InputError: it is neither, or no run of it has finished.

    Example:
        >>> page("runs/quickstart")  # doctest: +SKIP
        PosixPath('runs/quickstart/report.html')
    """
    folder = Path(folder)
    if not (folder / TABLE).is_file() or not (folder / STUDY).is_file():
        raise InputError(
            f"{folder} has no {TABLE} and no {STUDY}, so there is nothing to tell; give a folder "
            "that `autolora-meta run` or `autolora-meta study` has written"
        )
    replace_text(folder / FILE, document(folder).html())
    return folder / FILE


def document(folder: Path) -> Document:
    """Return the page of a run or study, from its folder.

    Raises:
        InputError: no run of it has finished.
    """
    table = StudyTable.load(folder)
    went = courses(table, folder)
    room = measured(table, folder)
    warned = warnings(table, folder, went)
    before, after = around(room, warned)
    answered = [
        *before,
        *warned,
        *after,
        *([answer(table)] if table.asked or room is None else []),
        *reserves(table),
    ]
    sections = [
        *in_words(table, went),
        *comparisons(table, folder),
        *headroom_sections(room, folder),
        settings_table(table, folder),
        *how_much(folder),
        *race(table, folder),
        *rows(folder),
        *ranks_and_search(table, folder),
        cost(table, folder),
        *failed(table),
        *adapter(table, folder),
        again(table, folder),
        settings(folder),
    ]
    return Document(
        table.name, table.question or _question(table, folder), " ".join(answered), sections
    )


def _question(table: StudyTable, folder: Path) -> str:
    """Return what is asked, where nobody has put it in words."""
    if (folder / "config.yaml").is_file() and table.asked:
        manifest.refuse_damaged(folder, CHANGED, "config.yaml")
        config = RunConfig.load(folder / "config.yaml")
        return (
            f"Do LoRA ranks learned for {_short(config.model.name)} on "
            f"{_short(config.data.source)} do better than {table.asked[0].baseline} ones with the "
            "same number of parameters?"
        )
    parts = [f"{one.key}, against {value_label(one.baseline)}" for one in table.asked]
    return f"What makes a difference: {'; '.join(parts)}?" if parts else ""


def _short(name: Any) -> str:
    """Return a path by its last part, an id of a hub as it is, several one after another."""
    if not isinstance(name, str):
        return " and ".join(map(_short, name.values()))
    return Path(name).name if Path(name).is_absolute() or name.startswith(".") else name
