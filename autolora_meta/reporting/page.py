"""The page of a run or of a study: one HTML file that opens from disk."""

from pathlib import Path

from autolora_meta.errors import InputError
from autolora_meta.reporting.page_run import run_document
from autolora_meta.reporting.page_study import study_document

FILE = "report.html"


def page(folder: str | Path) -> Path:
    """Write `report.html` into the folder of a run or of a study, from what stands there.

    The page needs no other file and no network. Its figures are those in `figures/`
    (`report.draw_run` draws them). Equal results give equal bytes, but for the seconds that are
    told apart in its tables of cost.

    Args:
        folder: what `autolora-meta run` or `autolora-meta study` wrote.

    Returns:
        The path of the page.

    Raises:
        InputError: it is neither, or no run of the study has finished.

    Example:
        >>> page("runs/quickstart")  # doctest: +SKIP
        PosixPath('runs/quickstart/report.html')
    """
    folder = Path(folder)
    if (folder / "comparison.json").is_file():
        document = run_document(folder)
    elif (folder / "study.yaml").is_file():
        document = study_document(folder)
    else:
        raise InputError(
            f"{folder} has no comparison.json and no study.yaml, so there is nothing to tell; give "
            "a folder that `autolora-meta run` or `autolora-meta study` has written"
        )
    (folder / FILE).write_text(document.html(), encoding="utf-8")
    return folder / FILE
