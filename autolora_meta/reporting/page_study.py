"""What the page of a study says."""

import math
import statistics
from collections.abc import Sequence
from pathlib import Path
from shlex import quote

from autolora_meta.finetuning.tasks import metric_called
from autolora_meta.reporting.document import Code, Document, Section, Table
from autolora_meta.reporting.page_run import again, paths_count, pictures, settings, those_said, way
from autolora_meta.reporting.ranked import ranks_by_value, ranks_of_study
from autolora_meta.reporting.seconds import job_seconds
from autolora_meta.reporting.study import (
    blind_words,
    changed_after_look,
    family_words,
    leading,
    nothing_learned,
    primary_first,
    study_cells,
)
from autolora_meta.statistics.paired import MIN_REPLICATES
from autolora_meta.studies.answers import answers
from autolora_meta.studies.contrasts import Contrast
from autolora_meta.studies.options import ARM, StudyOptions, read_study
from autolora_meta.studies.plan import row_label, value_label
from autolora_meta.studies.table import StudyTable

_SHOWN = 3  # sentences in the answer; all of them follow below it


def study_document(folder: Path) -> Document:
    """The page of a study, from its folder.

    Raises:
        InputError: the folder is not that of a study, or no run of it has finished.
    """
    options, found = read_study(folder / "study.yaml"), StudyTable.load(folder)
    asked = dict(zip(figure_names(options), answers(options, found), strict=True))
    order = sorted(asked, key=lambda name: leading(asked[name]))
    contrasts = [contrast for each in asked.values() for contrast in each]
    sections = [
        *(_contrasts(name, asked[name], folder) for name in order if asked[name]),
        _all_settings(found, folder),
        *_ranks(options, found, folder),
        _cost(found, folder),
        *_failed(found),
        _adapter(found, way(folder)),
        again("study", way(folder) / "study.yaml", options.name, _IN_PYTHON),
        settings(folder, "study.yaml"),
    ]
    question = options.question or _question(options)
    warned = [*nothing_learned(found), *changed_after_look(folder)]
    answer = " ".join([*warned, _answer(contrasts), *_reserves(found)])
    return Document(options.name, question, answer, sections)


def figure_names(options: StudyOptions) -> list[str]:
    """The names of the figures of paired differences, one for each question of the study."""
    return [f"contrast-{number}-{one.key}" for number, one in enumerate(options.asked(), start=1)]


def _question(options: StudyOptions) -> str:
    parts = [f"{one.key}, against {value_label(one.baseline)}" for one in options.asked()]
    return f"What makes a difference: {'; '.join(parts)}?"


def _answer(contrasts: Sequence[Contrast]) -> str:
    """What is shown, the primary comparisons first; the first few of it where it is much.

    Where two questions ask for the same runs, the second time is not told.
    """
    once: dict[object, Contrast] = {}
    for contrast in primary_first(contrasts):
        once.setdefault((contrast.metric, contrast.runs), contrast)
    contrasts = list(once.values())
    count = len(contrasts)
    if count == 0:
        return "Nothing can be compared yet."
    if count == 1:
        return f"{contrasts[0].sentence}."
    if (most := max(contrast.difference.n for contrast in contrasts)) < MIN_REPLICATES:
        return (
            f"No claim on any of {count} comparisons: {most} replicate{'s' * (most > 1)}, and a "
            f"claim needs at least {MIN_REPLICATES}."
        )
    primary = [contrast for contrast in contrasts if contrast.primary]
    secondary = contrasts[len(primary) :]
    if len(primary) == 1:
        return f"{primary[0].sentence}." + _shown(secondary, "secondary")
    return (_shown(primary, "primary") + _shown(secondary, "secondary")).lstrip()


def _shown(contrasts: Sequence[Contrast], kind: str) -> str:
    """What is shown by contrasts that are corrected together."""
    if not contrasts:
        return ""
    among = f"{len(contrasts)} {kind} comparison{'s' * (len(contrasts) > 1)}"
    held = [contrast.sentence for contrast in contrasts if contrast.holds]
    if not held:
        return f" None of {among} shows a difference."
    more = f" And {len(held) - _SHOWN} more, below." if len(held) > _SHOWN else ""
    rest = len(contrasts) - len(held)
    none = f" Of {among} {rest} show{'s' * (rest == 1)} no difference." if rest else ""
    return f" {kind.capitalize()}: {'. '.join(held[:_SHOWN])}.{more}{none}"


def _reserves(found: StudyTable) -> list[str]:
    """What a reader of the answer must know of the runs behind it."""
    each = {row["id"]: row for row in found.rows}.values()
    failed = sum(row["status"] == "failed" for row in each)
    missing = sum(row["status"] == "missing" for row in each)
    blind = sum(row.get("blind", False) for row in each)
    of = f"of {len(each)} runs"
    return [
        *[f"Left out, because they failed: {failed} {of}."] * bool(failed),
        *[f"Not run yet: {missing} {of}."] * bool(missing),
        *[f"Of a search that had learned next to nothing (see below): {blind} {of}."] * bool(blind),
    ]


def _contrasts(name: str, contrasts: Sequence[Contrast], folder: Path) -> Section:
    first = contrasts[0]
    against = value_label(first.baseline)
    metric = metric_called(first.metric)
    caption = (
        f"{metric.title}: difference from {against}, paired over seeds; filled where it is shown."
    )
    rows = [
        [
            ", ".join(map(value_label, [*c.where.values(), c.value])),
            f"{c.difference.mean:.4g}",
            *(
                f"{x:.4g}" if math.isfinite(x) else ""
                for x in (c.difference.low, c.difference.high)
            ),
            f"{c.difference.effect:.2f}" if math.isfinite(c.difference.effect) else "",
            f"{c.p_holm:.2g}",
            c.difference.n,
        ]
        for c in contrasts
    ]
    header = ["value", "difference", "low", "high", "effect size", "p (corrected)", "replicates"]
    levels = " and ".join(sorted({f"{c.difference.level * 100:g}%" for c in contrasts}))
    return Section(
        f"{first.key}, against {against}",
        words=[family_words(contrasts)],
        points=[f"{contrast.sentence}." for contrast in primary_first(contrasts)],
        pictures=pictures(folder, {name: caption}),
        folded=[Table(f"{metric.title}: differences, {levels} intervals", header, rows)],
    )


def _all_settings(found: StudyTable, folder: Path) -> Section:
    label = metric_called(found.metrics[0]).title
    captions = {
        "cost": f"{label} against what finding and retraining the ranks took.",
        "parameters": f"{label} against the number of adapter parameters.",
    }
    runs = [
        [
            *(value_label({**row["settings"], ARM: row["arm"]}[key]) for key in found.keys),
            row["seed"],
            f"{row['parameters']:,}",
            *(f"{row['metrics'][metric]:.4f}" for metric in found.metrics),
            f"{row['cost']:.0f}",
            row["id"],
        ]
        for row in found.finished
    ]
    header = [*found.keys, "seed", "parameters", *found.metrics, "plain steps", "run"]
    return Section(
        "All settings",
        words=[
            "Replicates are random splits of the data; runs of one seed share theirs.",
            *blind_words(found),
        ],
        tables=[Table("Mean ± standard deviation over replicates", *study_cells(found))],
        pictures=pictures(folder, captions),
        folded=[Table("Every run", header, runs)],
    )


def _ranks(options: StudyOptions, found: StudyTable, folder: Path) -> list[Section]:
    captions = {}
    if asked := options.asked():
        each = f"for each value of {asked[0].key}"
        where, _ = ranks_by_value(found, folder, asked[0].key)
        at = f" ({where})" if where else ""
        captions["ranks-mean"] = f"Mean rank of every layer over the seeds, {each}{at}."
    if (ranks := ranks_of_study(folder)) is not None:
        seeds = len(ranks.searches)
        captions["ranks-spread"] = f"Each layer's rank over the {seeds} seeds: {ranks.label}."
    drawn = pictures(folder, captions)
    return [Section("Ranks", pictures=drawn)] if drawn else []


def _cost(found: StudyTable, folder: Path) -> Section:
    finished = {row["id"]: row["cost"] for row in found.finished}
    every, told = {row["id"] for row in found.rows}, job_seconds(folder)
    words = (
        f"{len(finished)} of {len(every)} runs have finished: {sum(finished.values()):,.0f} plain "
        "steps of search and retraining, a search counted for each run that reads it."
    )
    if len(found.rows) > len(every):
        words += (
            f" They fill the {len(found.rows)} places of the grid: a run stands at every value of "
            "a key that its arm does not read."
        )
    total = f"All {len(told)} jobs took {sum(told):,.0f} seconds together." if told else None
    beside = (
        "Choosing ranks, searches included and retraining not: wall time, which jobs that ran side "
        "by side make longer, and memory above the loaded model."
    )
    rows = []
    for arm in found.values(ARM):
        runs = {row["id"] for row in found.finished if row["arm"] == arm}
        took = [found.took[run] for run in sorted(runs & found.took.keys())]
        memory = [one["peak_memory"] for one in took if one["peak_memory"] is not None]
        if took:
            seconds = statistics.fmean(one["seconds"] or 0.0 for one in took)
            rows.append([arm, f"{seconds:.1f}", f"{max(memory) / 2**20:,.0f}" if memory else ""])
    tables = [Table(beside, ["arm", "seconds, mean", "MiB, most"], rows)] if rows else []
    return Section("What it cost", words=those_said(words, total), tables=tables)


def _failed(found: StudyTable) -> list[Section]:
    if not found.failed:
        return []
    rows = [[row["id"], row_label(row), row["error"]] for row in found.failed]
    words = "These runs are left out above. The study's --retry-failed tries them once more."
    table = Table("Failed runs", ["run", "what", "error"], rows)
    return [Section("What failed", words=[words], tables=[table])]


def _adapter(found: StudyTable, place: Path) -> Section:
    row = found.finished[0]
    run = place / "runs" / row["id"]
    ranks = run / str(row["seed"]) / row["arm"] / "ranks.json"
    retrained = (
        f"autolora-meta retrain {quote(run.as_posix())} --ranks {quote(ranks.as_posix())} "
        "--output adapter"
    )
    loaded = (
        "from peft import PeftModel\n\n"
        'model = PeftModel.from_pretrained(base, "adapter")  # base: see adapter/README.md\n'
    )
    return Section(
        "Get an adapter",
        words=[
            "A study keeps the ranks of each run, and no adapters. "
            + paths_count(place / "study.yaml")
        ],
        code=[Code("One with the ranks of a run:", retrained), Code("Load it:", loaded)],
    )


_IN_PYTHON = """\
from autolora_meta.studies.study import Study

if __name__ == "__main__":
    table = Study.load("FILE", folder="again").run()
"""
