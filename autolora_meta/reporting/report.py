"""Report: everything for people that a finished run or study leaves in its folder."""

import shutil
from pathlib import Path

from autolora_meta.exporting.stored import refuse_damaged_adapter
from autolora_meta.foundation import manifest
from autolora_meta.foundation.places import scratch
from autolora_meta.pipeline.result import SearchResult
from autolora_meta.reporting.figures import draw_all
from autolora_meta.reporting.page import page
from autolora_meta.reporting.summary import write_summary
from autolora_meta.studies.budgets import choice_of, decided
from autolora_meta.studies.headroom import measured
from autolora_meta.studies.plan import Planned
from autolora_meta.studies.table import StudyTable

RANKS = "ranks.json"


def report(folder: Path, first: Planned | None) -> str:
    """Gather search and adapter of the first run, draw the figures, write summary and page.

    Args:
        folder: of the run or study.
        first: of a study of one point the first run of the chosen arm; None of any other.

    Returns:
        The summary.
    """
    if first is not None:
        _gather(folder, first)
    if (found := measured(StudyTable.load(folder), folder)) is not None:
        found.save(folder)
    draw_all(folder)
    said = write_summary(folder)
    page(folder)
    return said


def _gather(folder: Path, first: Planned) -> None:
    """Copy the ranks and the adapter of a run to where people look for them."""
    if first.arm == "learned":
        _gather_search(folder, first)
    elif (ranks := folder / "runs" / first.id / str(first.seed) / first.arm / RANKS).is_file():
        manifest.refuse_damaged(ranks.parent, manifest.AS_IT_IS, RANKS)
        manifest.write_sealed(folder, {RANKS: ranks.read_text(encoding="utf-8")})
    if (adapter := folder / "runs" / first.id / "adapter").is_dir():
        refuse_damaged_adapter(adapter)
        with scratch(folder, "adapter") as made:
            shutil.copytree(adapter, made / "adapter")
            shutil.rmtree(folder / "adapter", ignore_errors=True)
            (made / "adapter").rename(folder / "adapter")


def _gather_search(folder: Path, first: Planned) -> None:
    """Copy the learned search of a run, with its ranks."""
    search = folder / "searches" / first.searches["learned"] / str(first.seed) / "learned"
    if search.is_dir():
        config = decided(first.config, choice_of(folder, first))
        result, ranks = SearchResult.load(search), config.ranks
        if ranks.read_plain and result.components.spectrum is None:  # searched for another read-out
            plain = folder / "searches" / first.searches["plain"] / str(first.seed) / "plain"
            result = result.with_spectrum(SearchResult.load(plain))
        result.under(ranks).save(folder)
