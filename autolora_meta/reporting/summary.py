"""Summary: what a run or a study found, as Markdown."""

from collections.abc import Sequence
from pathlib import Path

from autolora_meta.foundation.places import replace_text
from autolora_meta.pipeline.result import SearchResult
from autolora_meta.reporting.at_once import trained_at_once
from autolora_meta.reporting.caveats import blind_runs, reach, reserves, warnings
from autolora_meta.reporting.cells import means
from autolora_meta.reporting.course import Course, courses
from autolora_meta.reporting.headroom import around, first_words
from autolora_meta.reporting.how_much import HEADER, Told, choices, sentences
from autolora_meta.reporting.how_much import rows as budget_rows
from autolora_meta.reporting.markdown import ranks_table, table
from autolora_meta.reporting.quoting import escaped
from autolora_meta.reporting.sentences import groups
from autolora_meta.reporting.tuned import picked
from autolora_meta.studies.executor import Job
from autolora_meta.studies.headroom import Measured, measured
from autolora_meta.studies.labels import row_label
from autolora_meta.studies.plan import Planned
from autolora_meta.studies.table import StudyTable

FILE = "summary.md"


def write_summary(folder: Path) -> str:
    """Write `summary.md` into the folder of a run or a study, from what stands there.

    Returns:
        What it says.
    """
    found = StudyTable.load(folder)
    went = courses(found, folder)
    result = SearchResult.load(folder) if (folder / "search").is_dir() else None
    warned = warnings(found, folder, went)
    said = summary(found, went, warned, result, measured(found, folder), choices(folder))
    replace_text(folder / FILE, said)
    return said


def summary(
    found: StudyTable,
    went: dict[str, Course] | None = None,
    warned: Sequence[str] = (),
    result: SearchResult | None = None,
    room: Measured | None = None,
    budgets: Sequence[Told] = (),
) -> str:
    """Return the answer of a study in Markdown.

    Args:
        found: of the study.
        went: how its searches went (`courses`).
        warned: what stands before all else.
        result: the first search, whose ranks are shown.
        room: its headroom, where it was measured. Where ranks do not matter, that is said first.
        budgets: how budgets of auto were chosen.
    """
    before, after = around(room, warned)
    parts = [f"# {escaped(found.name)}", *[f"**{escaped(said)}**" for said in before]]
    parts += [escaped(found.question)] * bool(found.question)
    parts += [f"**{escaped(said)}**" for said in (*warned, *after)]
    for setting, choice in budgets:
        parts.append("## How much rank" + (f": {escaped(setting)}" if setting else ""))
        cells = [[escaped(cell) for cell in row] for row in budget_rows(choice)]
        parts += [" ".join(sentences(choice)), table(HEADER, cells)]
    if result is None:
        parts += ["## Comparison"] * bool(budgets)
    else:
        unspent = result.options.unspent(result.ranks)
        parts += [
            f"## Ranks learned, seed {escaped(found.rows[0]['seed'])}",
            ranks_table(result.ranks),
        ]
        parts += [*[unspent] * bool(unspent), "## Comparison"]
    header, rows = means(found, timed=True)
    cells = [[escaped(cell) for cell in row] for row in rows]
    parts += [table([*map(escaped, header)], cells), *_captions(found)]
    if lines := [f"- {escaped(said)}" for said in picked(found)]:
        parts.append("\n".join(lines))
    for group in groups(found):
        points = [f"- {escaped(said)}" for said in group.sentences]
        parts += [f"{escaped(group.heading)}:", "\n".join(points)]
    parts += room_part(room)
    parts.append(reach(found, [c for group in groups(found) for c in group.contrasts]))
    for setting, course in (went or {}).items():
        said = f"{setting}: " * bool(setting) + " ".join(course.sentences())
        parts.append(escaped(said))
    parts += [*map(escaped, [*reserves(found), *blind_runs(found)]), *_failed(found)]
    return "\n\n".join(parts) + "\n"


def _captions(found: StudyTable) -> list[str]:
    words = "Mean ± standard deviation over replicates. Plain steps are those of search and "
    words += "retraining in one replicate"
    if found.took:
        words += ", seconds their wall time: jobs that ran side by side slowed each other"
    return [" ".join(filter(None, [f"{words}.", trained_at_once(found)]))]


def _failed(found: StudyTable) -> list[str]:
    if not found.failed:
        return []
    said = (f"{row['id']} ({row_label(row)}): {row['error']}" for row in found.failed)
    lines = [f"- {escaped(one)}" for one in said]
    return ["## Failed", "\n".join(lines), "Run again with --retry-failed to try them once more."]


def room_part(room: Measured | None) -> list[str]:
    """Return what random patterns show, in Markdown."""
    if room is None:
        return []
    points = [f"- {escaped(said)}" for said in _beyond(room)]
    return ["Headroom, what ranks can change here:", "\n".join(points)]


def _beyond(room: Measured) -> list[str]:
    """Return what is to be said of headroom, without what stands first already."""
    return [*[room.verdict] * (not first_words(room)), *room.sentences]


def study_plan(runs: Sequence[Planned], jobs: Sequence[Job]) -> str:
    """Return what a study would still do: its runs, and the plain steps behind them."""
    behind = {job.key: job for job in jobs}
    header = ["run", "what", "shared work to do", "plain steps beside it"]
    rows = [
        [
            run.id,
            run.label,
            len(behind[run.id].needs & behind.keys()),
            f"{behind[run.id].work:,.0f}",
        ]
        for run in runs
    ]
    shared = len(jobs) - len(runs)
    work = sum(job.work for job in jobs)
    end = f"{len(runs)} runs, and {shared} searches and measurements that they share"
    return f"{table(header, rows)}\n\n{end}: {work:,.0f} plain steps, evaluations apart"
