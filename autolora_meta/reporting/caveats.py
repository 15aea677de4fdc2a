"""Caveats: what a reader of an answer must know of the runs behind it."""

from collections.abc import Sequence
from itertools import groupby
from pathlib import Path

from autolora_meta.finetuning.data.shift import SHIFTED
from autolora_meta.finetuning.data.wrong_labels import FLIPPED
from autolora_meta.finetuning.tasks.blind import blind_arms, blind_arms_words
from autolora_meta.reporting.course import WHAT_TO_CHANGE, Course
from autolora_meta.statistics.paired import MIN_REPLICATES
from autolora_meta.studies.check_study import rows_read
from autolora_meta.studies.contrasts import Contrast
from autolora_meta.studies.ledger import Ledger
from autolora_meta.studies.questions import ARM
from autolora_meta.studies.table import StudyTable


def warnings(table: StudyTable, folder: Path, courses: dict[str, Course]) -> list[str]:
    """Return what stands before any difference: what learned nothing, what was changed late."""
    once = {row["id"]: row for row in table.finished}
    of_one = courses.get("")  # several points are told in one sentence (`blind_runs`)
    return [
        *blind_arms_words(blind_arms(once.values())),
        *(of_one.warnings() if of_one else []),
        *changed_after_look(folder),
        *_on_purpose(folder),
    ]


def _on_purpose(folder: Path) -> list[str]:
    """Return what was said of wrong labels and of a second source, which were asked for."""
    if (found := rows_read(folder)) is None:
        return []
    asked = [said for said in found.said if FLIPPED in said or SHIFTED in said]
    return [f"Seed {found.seed}: {said}." for said in asked]


def changed_after_look(folder: Path) -> list[str]:
    """Return warnings of seeds or a primary comparison that changed when there were results."""
    looks = Ledger(folder).looks()
    named = list(dict.fromkeys(look["primary"] for look in looks))
    return [*_changed_primary(named), *_changed_seeds([look["seeds"] for look in looks])]


def _changed_primary(named: Sequence[str]) -> list[str]:
    if len(named) < 2:
        return []
    return [
        "The primary comparison was changed after results had been looked at (first "
        f"{named[0]}): it is no longer one that was named before the run, and counts as secondary."
    ]


def _changed_seeds(looks: Sequence[Sequence[int]]) -> list[str]:
    looks = [list(seeds) for seeds, _ in groupby(looks)]
    if len(looks) < 2:
        return []
    if dropped := sorted(set().union(*map(set, looks)) - set(looks[-1])):
        return [
            f"Seeds were chosen after results had been looked at: {', '.join(map(str, dropped))} "
            "had results and are left out here. What a choice of seeds shows may be the choice: a "
            "new study with seeds that were never used decides."
        ]
    grew = ", then ".join(str(len(seeds)) for seeds in looks)
    return [
        f"Seeds were added after results had been looked at ({grew}): p-values and intervals hold "
        "for a number of seeds that was fixed before, and claim too much here. A new study with "
        "seeds that were never used decides."
    ]


def reserves(table: StudyTable) -> list[str]:
    """Return how many runs are left out, and how many are of a search that learned nothing."""
    each = {row["id"]: row for row in table.rows}.values()
    failed = sum(row["status"] == "failed" for row in each)
    missing = sum(row["status"] == "missing" for row in each)
    blind = sum(row.get("blind", False) for row in each) if len(table.keys) > 1 else 0
    of = f"of {len(each)} runs"
    return [
        *[f"Left out, because they failed: {failed} {of}."] * bool(failed),
        *[f"Not run yet: {missing} {of}."] * bool(missing),
        *[f"Of a search that had learned next to nothing (see below): {blind} {of}."] * bool(blind),
    ]


def blind_runs(table: StudyTable) -> list[str]:
    """Return what is to be said of runs whose search had learned nothing, where there are such."""
    arms: dict[str, list[bool]] = {}
    for row in table.finished:
        arms.setdefault(row["arm"], []).append(row.get("blind", False))
    counts = [f"{arm} {sum(each)} of {len(each)}" for arm, each in arms.items() if any(each)]
    if not counts or len(table.keys) == 1:  # of one point: `Course.warnings`
        return []
    return [
        "Runs whose search had a validation loss no better than that of an answer that does not "
        f"look at its input: {', '.join(counts)}. Next to nothing had been learned there, so those "
        f"ranks say little. {WHAT_TO_CHANGE}"
    ]


def reach(table: StudyTable, contrasts: Sequence[Contrast]) -> str:
    """Return what replicates and intervals do not say."""
    intervals = sum(c.difference.n >= MIN_REPLICATES and not c.same for c in contrasts)
    given = f", and {intervals} intervals are given, uncorrected for their number"
    words = f"Replicates are random splits of the data{given if intervals else ''}."
    starts = {row["arm"]: row.get("start") for row in table.finished}
    started = [arm for arm in table.values(ARM) if starts.get(arm) == "search"]
    others = [arm for arm in starts if arm not in started]
    if not started:
        return words
    if not others:
        return f"{words} Every arm went on from what its search trained."
    return (
        f"{words} {', '.join(started)} went on from what the search trained, {', '.join(others)} "
        "began from scratch: between those, differences are of both ranks and start."
    )
