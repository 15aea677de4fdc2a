"""Sections of the page that say what was found."""

import statistics
from pathlib import Path

from autolora_meta.finetuning.tasks import metric_called
from autolora_meta.pipeline.result import SearchResult
from autolora_meta.reporting.at_once import trained_at_once
from autolora_meta.reporting.caveats import blind_runs, reach
from autolora_meta.reporting.cells import differences, every_run, means
from autolora_meta.reporting.course import Course
from autolora_meta.reporting.document import Picture, Section, Table
from autolora_meta.reporting.figures import asked
from autolora_meta.reporting.ranked import ranks_by_value, ranks_of_study
from autolora_meta.reporting.sentences import groups
from autolora_meta.reporting.tuned import picked
from autolora_meta.studies.labels import row_label, value_label
from autolora_meta.studies.ledger import Ledger
from autolora_meta.studies.questions import ARM
from autolora_meta.studies.table import StudyTable

_SEARCH = {
    "gates": "The gates during the search: a line for each component, coloured by block.",
    "importance": "Each layer's share of the importance during the search, coloured by block.",
    "ranks-over-time": "The ranks that would follow from the search at each of its steps.",
    "losses": "Inner loss on training rows and outer loss on validation rows.",
}


def pictures(folder: Path, captions: dict[str, str]) -> list[Picture]:
    """Return those of the figures that stand in the folder."""
    files = {folder / "figures" / f"{name}.svg": words for name, words in captions.items()}
    return [Picture.read(file, words) for file, words in files.items() if file.is_file()]


def in_words(table: StudyTable, went: dict[str, Course]) -> list[Section]:
    """Return the primary sentences, and what must be known of the runs behind all."""
    found = groups(table)
    primary = [
        Section("In words", words=[f"{group.heading}."], points=[f"{s}." for s in group.sentences])
        for group in found
        if not group.key
    ]
    words = [reach(table, [c for group in found for c in group.contrasts]), *blind_runs(table)]
    points = []
    for setting, course in went.items():
        said = " ".join(course.sentences())
        (points if setting else words).append(f"{setting}: {said}" if setting else said)
    return [*primary, Section("Behind the figures", words=words, points=points)]


def comparisons(table: StudyTable, folder: Path) -> list[Section]:
    """Return a section for each key that is compared: sentences, figures, and the differences."""
    found = groups(table)
    sections = []
    for key in dict.fromkeys(c.key for group in found for c in group.contrasts):
        captions = {
            figure.name: f"{metric_called(figure.contrasts[0].metric).title}: difference from "
            f"{value_label(figure.question.baseline)}, paired over seeds; filled where it is shown."
            for figure in asked(table)
            if figure.question.key == key
        }
        secondary = [group for group in found if group.key == key]
        mine = [c for group in found for c in group.contrasts if c.key == key]
        levels = " and ".join(sorted({f"{c.difference.level * 100:g}%" for c in mine}))
        caption = f"Paired differences, {levels} intervals, the primary first; p plain, corrected"
        sections.append(
            Section(
                "Comparisons of the arms" if key == ARM else f"Comparisons of {key}",
                words=[f"{group.heading}." for group in secondary],
                points=[f"{said}." for group in secondary for said in group.sentences],
                pictures=pictures(folder, captions),
                folded=[Table(caption, *differences(mine))],
            )
        )
    return sections


def settings_table(table: StudyTable, folder: Path) -> Section:
    """Return what every setting and arm came to, and what it cost."""
    label = metric_called(table.metrics[0]).title
    captions = {
        "cost": f"{label} against what finding and retraining the ranks took.",
        "parameters": f"{label} against the number of adapter parameters.",
    }
    return Section(
        "The arms" if table.keys == (ARM,) else "All settings",
        words=["Replicates are random splits of the data; runs of one seed share theirs."],
        points=picked(table),
        tables=[Table("Mean ± standard deviation over replicates", *means(table))],
        pictures=pictures(folder, captions),
        folded=[Table("Every run", *every_run(table))],
    )


def ranks_and_search(table: StudyTable, folder: Path) -> list[Section]:
    """Return the ranks, and of a study of one point how the first search went."""
    ranks, where = ranks_of_study(folder), ""
    captions = {"ranks": "The rank of each layer: blocks downwards, kinds of module across."}
    if ranks is not None:
        many = f"{len(ranks.searches)} seeds" + (f": {ranks.label}" if ranks.result is None else "")
        captions["ranks-spread"] = f"Each layer's rank over the {many}, beside equal ranks."
        captions["ranks-stability"] = "How far they agree: mean and deviation of each layer's rank."
    if table.asked:
        key = table.asked[0].key
        where, _ = ranks_by_value(table, folder, key)
        at = f" ({where})" if where else ""
        captions["ranks-mean"] = (
            f"Mean rank of every layer over the seeds, for each value of {key}{at}."
        )
    drawn, heading, words, folded = pictures(folder, captions), "Ranks", [], []
    if ranks is not None and (result := ranks.result) is not None:
        heading = f"Ranks learned, seed {table.rows[0]['seed']}"
        words = [f"Total rank {result.ranks.total_rank}, {result.ranks.parameters:,} parameters."]
        words += filter(None, [result.options.unspent(result.ranks)])
        folded = [_layers(result)]
    section = Section(heading, words=words, pictures=drawn, folded=folded)
    search = pictures(folder, _SEARCH)
    return [section] * bool(drawn) + [Section("The search", pictures=search)] * bool(search)


def _layers(result: SearchResult) -> Table:
    pattern = result.ranks
    rows = [
        [name, rank, f"{rank * cost:,}"]
        for name, rank, cost in zip(pattern.names, pattern.ranks, pattern.costs, strict=True)
    ]
    return Table("Rank of every layer", ["layer", "rank", "parameters"], rows)


def cost(table: StudyTable, folder: Path) -> Section:
    """Return what the runs took: plain steps, wall time and memory."""
    finished = {row["id"]: row["cost"] for row in table.finished}
    every, told = {row["id"] for row in table.rows}, Ledger(folder).seconds()
    words = [
        f"{len(finished)} of {len(every)} runs have finished: {sum(finished.values()):,.0f} plain "
        "steps of search and retraining, a search counted for each run that reads it. A plain step "
        "is a training step of ordinary LoRA at rank k (`lora.k`)."
    ]
    if len(table.rows) > len(every):
        words.append(
            f"They fill the {len(table.rows)} places of the grid: a run stands at every value of a "
            "key that its arm does not read."
        )
    if told:
        words.append(f"All {len(told)} jobs took {sum(told):,.0f} seconds together.")
    words += filter(None, [trained_at_once(table)])
    beside = (
        "Choosing ranks, searches included, and retraining too: mean wall time, which jobs that "
        "ran side by side make longer; and the most memory above the loaded model while choosing."
    )
    rows = []
    for arm in table.values(ARM):
        runs = {row["id"] for row in table.finished if row["arm"] == arm}
        took = [table.took[run] for run in sorted(runs & table.took.keys())]
        memory = [one.peak_memory for one in took if one.peak_memory is not None]
        if took:
            seconds = [[one.seconds for one in took], [one.all_seconds for one in took]]
            means = (f"{statistics.fmean(each):.1f}" for each in seconds)
            rows.append([arm, *means, f"{max(memory) / 2**20:,.0f}" if memory else ""])
    header = ["arm", "seconds to choose", "and to retrain", "MiB"]
    tables = [Table(beside, header, rows)] if rows else []
    return Section("What it cost", words=words, tables=tables)


def failed(table: StudyTable) -> list[Section]:
    """Return the runs that failed, with their errors; none where none did."""
    if not table.failed:
        return []
    rows = [[row["id"], row_label(row), row["error"]] for row in table.failed]
    words = "These runs are left out above. --retry-failed tries them once more."
    return [
        Section(
            "What failed", words=[words], tables=[Table("Failed", ["run", "what", "error"], rows)]
        )
    ]
