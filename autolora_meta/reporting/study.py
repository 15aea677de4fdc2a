"""What a study found, as text: a table of means, sentences, and what failed."""

import json
import statistics
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path

from autolora_meta.finetuning.tasks import metric_called
from autolora_meta.finetuning.tasks.blind import blind_arms, blind_arms_words
from autolora_meta.reporting.summary import WHAT_TO_CHANGE, table
from autolora_meta.studies.answers import answers
from autolora_meta.studies.contrasts import Contrast
from autolora_meta.studies.executor import Job
from autolora_meta.studies.ledger import Ledger
from autolora_meta.studies.options import StudyOptions, read_study
from autolora_meta.studies.plan import Planned, row_label, value_label
from autolora_meta.studies.table import StudyTable


def study_cells(found: StudyTable) -> tuple[list[str], list[list[object]]]:
    """(header, rows): one row for each point and arm, mean and standard deviation over seeds."""
    groups: dict[str, list[dict]] = {}
    for row in found.finished:
        groups.setdefault(json.dumps([row["settings"], row["arm"]], sort_keys=True), []).append(row)
    metrics = found.metrics
    cells: list[list[object]] = []
    for rows in groups.values():
        values = {**rows[0]["settings"], "arm": rows[0]["arm"]}
        line: list[object] = [value_label(values[key]) for key in found.keys]
        line.append(f"{statistics.fmean(row['parameters'] for row in rows):,.0f}")
        for metric in metrics:
            each = [row["metrics"][metric] for row in rows]
            spread = f" ± {statistics.stdev(each):.3f}" if len(each) > 1 else ""
            line.append(f"{statistics.fmean(each):.3f}{spread}")
        line += [f"{statistics.fmean(row['cost'] for row in rows):.0f}", len(rows)]
        cells.append(line)
    return [*found.keys, "parameters", *metrics, "plain steps", "replicates"], cells


def nothing_learned(found: StudyTable) -> list[str]:
    """A warning about arms whose answers ignore their input, where there are such."""
    once = {row["id"]: row for row in found.finished}
    return blind_arms_words(blind_arms(once.values()))


def changed_after_look(folder: Path) -> list[str]:
    """Warnings about seeds or a primary comparison that changed when there were results."""
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


def study_summary(options: StudyOptions, found: StudyTable, warned: Sequence[str] = ()) -> str:
    """The answer of a study in Markdown; `warned` stands before any difference."""
    parts = [f"# {options.name}"]
    parts += [options.question] * bool(options.question)
    parts += [f"**{said}**" for said in [*nothing_learned(found), *warned]]
    parts.append(table(*study_cells(found)))
    for contrasts in sorted(answers(options, found), key=leading):
        if contrasts:
            first = contrasts[0]
            head = f"## {first.key}, against {value_label(first.baseline)}"
            said = "\n".join(f"- {contrast.sentence}" for contrast in primary_first(contrasts))
            parts += [head, family_words(contrasts), said]
    parts.append("Mean ± standard deviation over replicates, which are random splits of the data.")
    parts += blind_words(found)
    if found.failed:
        lines = [f"- {row['id']} ({row_label(row)}): {row['error']}" for row in found.failed]
        again = "Run again with --retry-failed to try them once more."
        parts += ["## Failed", "\n".join(lines), again]
    return "\n\n".join(parts) + "\n"


def write_summary(folder: Path) -> str:
    """Write `summary.md` into the folder of a study, from what stands there.

    Returns:
        What it says.
    """
    options, found = read_study(folder / "study.yaml"), StudyTable.load(folder)
    words = study_summary(options, found, changed_after_look(folder))
    (folder / "summary.md").write_text(words, encoding="utf-8")
    return words


def family_words(contrasts: Sequence[Contrast]) -> str:
    """Which contrasts of a question are primary, and what each is corrected with."""
    metric = metric_called(contrasts[0].metric).label
    words = []
    for kind, primary in (("Primary, named before the run", True), ("Secondary", False)):
        mine = [contrast for contrast in contrasts if contrast.primary == primary]
        if not mine:
            continue
        pair = f"{value_label(mine[0].value)} against {value_label(mine[0].baseline)}"
        which = f" ({pair})" if primary and len(mine) < len(contrasts) else ""
        family = mine[0].family
        among = f", corrected for all {family} {kind.split(',')[0].lower()} comparisons"
        words.append(f"{kind}{which}: differences in {metric}{among if family > 1 else ''}.")
    return " ".join(words)


def leading(contrasts: Sequence[Contrast]) -> bool:
    """A key that sorts the question with the primary comparison before all others."""
    return not any(contrast.primary for contrast in contrasts)


def primary_first(contrasts: Sequence[Contrast]) -> list[Contrast]:
    """The primary contrasts before the others, otherwise in their order."""
    return sorted(contrasts, key=lambda contrast: not contrast.primary)


def blind_words(found: StudyTable) -> list[str]:
    """What is to be said of runs whose search had learned nothing, where there are such."""
    arms: dict[str, list[bool]] = {}
    for row in found.finished:
        arms.setdefault(row["arm"], []).append(row.get("blind", False))
    counts = [f"{arm} {sum(each)} of {len(each)}" for arm, each in arms.items() if any(each)]
    if not counts:
        return []
    return [
        "Runs whose search had a validation loss no better than that of an answer that does not "
        f"look at its input: {', '.join(counts)}. Next to nothing had been learned there, so those "
        f"ranks say little. {WHAT_TO_CHANGE}"
    ]


def study_plan(runs: Sequence[Planned], jobs: Sequence[Job]) -> str:
    """What a study would still do: its runs, and the plain steps behind them."""
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
